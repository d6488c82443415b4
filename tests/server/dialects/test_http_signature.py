"""Who may open: the vendor's own example, and every way of not being it."""

import hmac
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.secret import SecretBytes
from server import errors
from server.dialects.http_signature import SignatureSettings, SignatureVerifier
from server.dialects.values import Upgrade
from server.errors import RefusedError

KEY_ID = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = b64decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")
SIGNED_S = 1_641_013_200
TARGET = "/api/v1/voicebiometrics/ws"
AUTHORITY = "audiohook.example.com"
PARAMETERS = (
    f';keyid="{KEY_ID}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256"'
    f";created={SIGNED_S};expires=3282026430"
)
NAMES = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
VALUES = {
    "@request-target": TARGET,
    "@authority": AUTHORITY,
    "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
    "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "x-api-key": KEY_ID,
}
VENDORS_SIGNATURE = "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"


def parameters(**changed):
    values = {
        "keyid": f'"{KEY_ID}"',
        "nonce": '"VGhpc0lzQVVuaXF1ZU5vbmNl"',
        "alg": '"hmac-sha256"',
        "created": str(SIGNED_S),
        "expires": "3282026430",
    } | changed
    return "".join(f";{name}={value}" for name, value in values.items() if value is not None)


def upgraded(changed=None, added=(), target=TARGET):
    headers = {"host": AUTHORITY} | {n: v for n, v in VALUES.items() if n[0] != "@"}
    headers |= changed or {}
    kept = [(name, value) for name, value in headers.items() if value is not None]
    return Upgrade(target=target, headers=[*kept, *added])


def signed(names=NAMES, text=None, secret=SECRET, values=VALUES, label="sig1"):
    """The two headers."""
    listed = "(" + " ".join(f'"{name}"' for name in names) + ")"
    signed_text = listed + (PARAMETERS if text is None else text)
    lines = [f'"{name}": {values.get(name, "")}' for name in names]
    base = "\n".join([*lines, f'"@signature-params": {signed_text}'])
    shown = b64encode(hmac.digest(secret, base.encode(), "sha256")).decode()
    return {"signature-input": f"{label}={signed_text}", "signature": f"{label}=:{shown}:"}


DEFAULTS = SignatureSettings()


def verifier(settings=DEFAULTS, **keys):
    held = keys or {KEY_ID: [SECRET]}
    return SignatureVerifier(
        {name: [SecretBytes(bytearray(secret)) for secret in some] for name, some in held.items()},
        settings,
    )


def refusal(upgrade, authority=None, wall_s=SIGNED_S, checking=None):
    with pytest.raises(RefusedError) as refused:
        (checking or verifier()).check(upgrade, authority, wall_s)
    assert refused.value.refusal is errors.UNAUTHENTICATED
    return refused.value.reason


def test_the_vendors_own_example_is_verified():
    headers = {
        "signature-input": "sig1=(" + " ".join(f'"{n}"' for n in NAMES) + ")" + PARAMETERS,
        "signature": VENDORS_SIGNATURE,
    }
    assert verifier().check(upgraded(headers), None, SIGNED_S) == KEY_ID
    assert signed()["signature"] == VENDORS_SIGNATURE


def test_the_public_address_counts_where_a_proxy_has_changed_the_host():
    upgrade = upgraded(signed() | {"host": "10.0.0.1:8443"})
    assert verifier().check(upgrade, AUTHORITY, SIGNED_S) == KEY_ID
    assert refusal(upgrade) == "signature_wrong"


@pytest.mark.parametrize("host", ["AudioHook.Example.com", "audiohook.example.com:443"])
def test_a_host_is_the_same_in_capitals_and_with_the_usual_port(host):
    assert verifier().check(upgraded(signed() | {"host": host}), None, SIGNED_S) == KEY_ID


def test_another_port_is_part_of_the_host():
    values = VALUES | {"@authority": f"{AUTHORITY}:8443"}
    upgrade = upgraded(signed(values=values) | {"host": f"{AUTHORITY}:8443"})
    assert verifier().check(upgrade, None, SIGNED_S) == KEY_ID


def test_the_query_is_signed_exactly_as_it_was_sent():
    target = TARGET + "?token=a.b%2Ec&x="
    headers = signed(values=VALUES | {"@request-target": target})
    assert verifier().check(upgraded(headers, target=target), None, SIGNED_S) == KEY_ID
    changed = upgraded(headers, target=target.replace("%2E", "."))
    assert refusal(changed) == "signature_wrong"


@given(st.permutations(NAMES))
def test_components_come_in_any_order(names):
    assert verifier().check(upgraded(signed(names)), None, SIGNED_S) == KEY_ID


@pytest.mark.parametrize("missing", NAMES)
def test_every_component_must_be_covered(missing):
    names = [name for name in NAMES if name != missing]
    assert refusal(upgraded(signed(names))) == "signature_covers_too_little"


@pytest.mark.parametrize("name", NAMES[2:])
def test_a_header_that_was_changed_after_signing_is_noticed(name):
    changed = {name: VALUES[name].replace("d", "e").replace("S", "T")}
    assert refusal(upgraded(signed() | changed)) in ("signature_wrong", "signature_of_another_key")


@pytest.mark.parametrize("name", NAMES[2:5])
def test_a_covered_header_that_is_missing_or_doubled_or_empty_is_refused(name):
    assert refusal(upgraded(signed() | {name: None})) == "signed_component_missing"
    assert refusal(upgraded(signed() | {name: ""})) == "signed_component_missing"
    doubled = upgraded(signed(), added=[(name, VALUES[name])])
    assert refusal(doubled) == "signed_component_missing"


def test_more_headers_may_be_covered():
    names = [*NAMES, "origin"]
    headers = signed(names, values=VALUES | {"origin": "https://a.example"})
    upgrade = upgraded(headers | {"origin": " https://a.example\t"})
    assert verifier().check(upgrade, None, SIGNED_S) == KEY_ID
    assert refusal(upgraded(headers)) == "signed_component_missing"


@pytest.mark.parametrize("name", ["@method", "@signature-params", "@query"])
def test_a_component_that_nobody_here_can_tell_is_refused(name):
    assert refusal(upgraded(signed([*NAMES, name]))) == "signed_component_missing"


def test_a_component_is_covered_once():
    doubled = upgraded(signed([*NAMES, "x-api-key"]))
    assert refusal(doubled) == "signature_components_malformed"


def test_so_many_components_and_no_more():
    names = [*NAMES, *(f"x-{n}" for n in range(11))]
    assert refusal(upgraded(signed(names))) == "signature_components_malformed"


@pytest.mark.parametrize("header", ["signature", "signature-input"])
def test_a_request_without_a_signature_is_refused(header):
    assert refusal(upgraded(signed() | {header: None})) == "signature_missing"
    doubled = upgraded(signed(), added=[(header, signed()[header])])
    assert refusal(doubled) == "signature_missing"


def test_a_key_id_must_be_the_api_key():
    text = parameters(keyid='"another"')
    assert refusal(upgraded(signed(text=text))) == "signature_of_another_key"
    assert refusal(upgraded(signed() | {"x-api-key": None})) == "signature_of_another_key"


def test_a_key_that_nobody_knows_reads_like_a_wrong_signature():
    checking = verifier(another=[SECRET])
    assert refusal(upgraded(signed()), checking=checking) == "signature_wrong"
    assert refusal(upgraded(signed(secret=b"x" * 32))) == "signature_wrong"


def test_a_key_without_a_secret_lets_nobody_in():
    checking = SignatureVerifier({KEY_ID: []}, SignatureSettings())
    assert refusal(upgraded(signed(secret=b"")), checking=checking) == "signature_wrong"


def test_an_empty_secret_is_none():
    with pytest.raises(ValueError, match="empty"):
        verifier(**{KEY_ID: [b""]})


def test_the_old_and_the_new_secret_are_good_while_one_replaces_the_other():
    checking = verifier(**{KEY_ID: [b"o" * 32, b"n" * 32]})
    for secret, nonce in ((b"o" * 32, "o"), (b"n" * 32, "n")):
        headers = signed(text=parameters(nonce=f'"{nonce * 22}"'), secret=secret)
        assert checking.check(upgraded(headers), None, SIGNED_S) == KEY_ID


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"alg": '"hmac-sha512"'}, "signature_algorithm_wrong"),
        ({"alg": None}, "signature_parameters_wrong"),
        ({"keyid": None}, "signature_parameters_wrong"),
        ({"nonce": None}, "signature_parameters_wrong"),
        ({"created": None}, "signature_parameters_wrong"),
        ({"created": '"1641013200"'}, "signature_parameters_wrong"),
        ({"expires": '"3282026430"'}, "signature_parameters_wrong"),
        ({"keyid": "7"}, "signature_parameters_wrong"),
        ({"tag": '"x"'}, "signature_parameters_wrong"),
        ({"nonce": '"' + "x" * 21 + '"'}, "nonce_too_short"),
        ({"nonce": '"' + "x" * 257 + '"'}, "signature_parameters_wrong"),
        ({"expires": '"x";created=1'}, "signature_parameters_doubled"),
        ({"expires": '3282026430;expires="x"'}, "signature_parameters_doubled"),
        ({"expires": "1;expires=3282026430"}, "signature_parameters_doubled"),
    ],
)
def test_parameters_are_those_and_no_others(changed, reason):
    assert refusal(upgraded(signed(text=parameters(**changed)))) == reason


def test_it_need_not_say_when_it_expires():
    headers = signed(text=parameters(expires=None))
    assert verifier().check(upgraded(headers), None, SIGNED_S) == KEY_ID


@pytest.mark.parametrize("wall_s", [SIGNED_S - 3, SIGNED_S + 10])
def test_clocks_may_differ_a_little(wall_s):
    assert verifier().check(upgraded(signed()), None, wall_s) == KEY_ID


@pytest.mark.parametrize(
    ("wall_s", "reason"),
    [(SIGNED_S - 3.5, "signature_of_the_future"), (SIGNED_S + 10.5, "signature_too_old")],
)
def test_yesterdays_signature_and_tomorrows_are_refused(wall_s, reason):
    assert refusal(upgraded(signed()), wall_s=wall_s) == reason


def test_what_has_expired_is_refused_however_young():
    headers = signed(text=parameters(expires=str(SIGNED_S + 2)))
    assert verifier().check(upgraded(headers), None, SIGNED_S + 2) == KEY_ID
    assert refusal(upgraded(headers), wall_s=SIGNED_S + 2.5) == "signature_expired"


@pytest.mark.parametrize("first_s", [SIGNED_S - 3, SIGNED_S, SIGNED_S + 10])
@pytest.mark.parametrize("later_s", [0.0, 5.0, 12.9])
def test_a_signature_opens_one_connection(first_s, later_s):
    checking = verifier()
    checking.check(upgraded(signed()), None, first_s)
    second = refusal(upgraded(signed()), wall_s=first_s + later_s, checking=checking)
    assert second in ("signature_replayed", "signature_too_old")


def test_the_same_nonce_is_refused_in_a_new_signature_too():
    checking = verifier()
    checking.check(upgraded(signed()), None, SIGNED_S)
    again = upgraded(signed(text=parameters(created=str(SIGNED_S + 5))))
    assert refusal(again, wall_s=SIGNED_S + 5, checking=checking) == "signature_replayed"


def test_a_stranger_uses_up_no_nonce():
    checking = verifier()
    assert refusal(upgraded(signed(secret=b"x" * 32)), checking=checking) == "signature_wrong"
    assert checking.check(upgraded(signed()), None, SIGNED_S) == KEY_ID


def test_while_too_many_nonces_are_remembered_nobody_is_let_in():
    checking = verifier(SignatureSettings(most_nonces=2))
    now_s = SIGNED_S
    for nonce in ("a", "b"):
        headers = signed(text=parameters(nonce=f'"{nonce * 22}"'))
        checking.check(upgraded(headers), None, now_s)
    with pytest.raises(RefusedError) as refused:
        checking.check(upgraded(signed()), None, now_s)
    assert refused.value.refusal is errors.OVERLOADED
    assert refused.value.reason == "nonces_full"
    later = upgraded(signed(text=parameters(created=str(now_s + 13))))
    assert checking.check(later, None, now_s + 13) == KEY_ID


INPUT = signed()["signature-input"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sig1",
        "sig1=" + PARAMETERS,
        "sig1=()" + PARAMETERS,
        INPUT.replace("sig1=", "Sig1="),
        INPUT.replace('" "', '"  "'),
        INPUT.replace('" "', '""'),
        INPUT.replace(";keyid", "; keyid"),
        INPUT.replace(";keyid", ";key=x;keyid"),
        INPUT.replace(KEY_ID, 'a\\"b'),
        INPUT.replace(KEY_ID, "é"),
        INPUT.replace("@authority", "@Authority"),
        INPUT.replace('"x-api-key"', '"x-api-key";bs'),
        INPUT.replace("created=1", "created=-1"),
        INPUT.replace("created=1", "created=1."),
        INPUT.replace("expires=3", "expires=3333333333"),
        INPUT + ", sig2=()",
        INPUT + "\n",
        INPUT + ";x=" + '"' + "x" * 2000 + '"',
    ],
)
def test_an_input_in_another_spelling_is_refused(text):
    assert refusal(upgraded(signed() | {"signature-input": text})) == "signature_input_malformed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sig1",
        "sig2" + VENDORS_SIGNATURE[4:],
        VENDORS_SIGNATURE.replace("=:", "="),
        VENDORS_SIGNATURE.replace("NZ", "N-"),
        VENDORS_SIGNATURE.replace("NZ", "N"),
        VENDORS_SIGNATURE + ", " + VENDORS_SIGNATURE,
        VENDORS_SIGNATURE + "\n",
    ],
)
def test_a_signature_in_another_spelling_is_refused(text):
    assert refusal(upgraded(signed() | {"signature": text})) == "signature_malformed"


def test_the_same_bytes_spelt_otherwise_are_not_the_signature():
    text = VENDORS_SIGNATURE.replace("Jh4=", "Jh5=")
    assert b64decode(text[6:-1]) == b64decode(VENDORS_SIGNATURE[6:-1])
    assert refusal(upgraded(signed() | {"signature": text})) == "signature_wrong"


@pytest.mark.parametrize("target", ["", "/é", "/a\n", "/" + "x" * 16_384])
def test_a_target_that_no_request_can_have_is_refused(target):
    upgrade = upgraded(signed(values=VALUES | {"@request-target": target}), target=target)
    assert refusal(upgrade) == "signed_component_missing"


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_the_headers_hold_it_is_a_refusal(described, shown):
    reason = refusal(upgraded({"signature-input": described, "signature": shown}))
    assert reason == "signature_input_malformed"


@given(st.integers(0, 600), st.characters())
def test_a_change_anywhere_is_noticed(place, character):
    place %= len(INPUT)
    text = INPUT[:place] + character + INPUT[place + 1 :]
    if text != INPUT:
        refusal(upgraded(signed() | {"signature-input": text}))


def test_neither_keys_nor_signatures_are_shown():
    headers = signed()
    for shown in (repr(verifier()), repr(upgraded(headers))):
        assert KEY_ID not in shown
        assert headers["signature"] not in shown
