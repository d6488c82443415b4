"""Who signed the address that a telephone system was given."""

import pytest
from twilio.request_validator import RequestValidator

from security.secret import SecretBytes
from server import errors
from server.dialects.values import Upgrade
from server.dialects.vendor_signatures import check_twilio_signature

ADDRESS = "wss://stt.example/v1/bridges/calls"
ACCOUNT_KEY = "0123456789abcdef0123456789abcdef"
SHA256_SETTINGS = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"


def secret(auth_token=ACCOUNT_KEY):
    return SecretBytes(bytearray(auth_token.encode()))


def upgrade(signature, *others):
    headers = (("host", "inside.example"), ("x-forwarded-host", "evil.example"), *others)
    return Upgrade("/v1/bridges/calls", (*headers, ("x-twilio-signature", signature)))


def signed(address=ADDRESS, auth_token=ACCOUNT_KEY, algorithm=None):
    return RequestValidator(auth_token).compute_signature(address, {}, algorithm)


def check(signature, *others, address=ADDRESS, secrets=None):
    check_twilio_signature(
        upgrade(signature, *others), address, [secret()] if secrets is None else secrets
    )


def refusal_of(*arguments, **named):
    with pytest.raises(errors.RefusedError) as caught:
        check(*arguments, **named)
    assert caught.value.refusal == errors.UNAUTHENTICATED
    return caught.value.reason


@pytest.mark.parametrize(
    "form",
    [
        "wss://stt.example/v1/bridges/calls",
        "wss://stt.example/v1/bridges/calls/",
        "wss://stt.example:443/v1/bridges/calls",
        "wss://stt.example:443/v1/bridges/calls/",
    ],
)
@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        ADDRESS + "/",
        "wss://stt.example:443/v1/bridges/calls",
        "https://stt.example/v1/bridges/calls",
    ],
)
def test_the_address_may_be_signed_with_or_without_slash_and_port(form, address):
    check(signed(form), address=address)


@pytest.mark.parametrize(
    "form",
    [
        "https://stt.example/v1/bridges/calls",
        "ws://stt.example/v1/bridges/calls",
        "http://stt.example/v1/bridges/calls",
        "wss://stt.example:80/v1/bridges/calls",
        "wss://stt.example/v1/bridges/calls//",
        "wss://stt.example/v1/bridges/calls?token=1",
        "wss://stt.example/v1/bridges/others",
        "wss://inside.example/v1/bridges/calls",
        "wss://evil.example/v1/bridges/calls",
        "/v1/bridges/calls",
    ],
)
def test_a_signature_of_another_scheme_host_port_or_path_is_refused(form):
    assert refusal_of(signed(form)) == "signature_wrong"
    assert refusal_of(signed(form), address="https" + ADDRESS[3:]) == "signature_wrong"


@pytest.mark.parametrize("host", ["stt.example:8443", "[2001:db8::1]:8443"])
def test_a_port_that_is_not_the_usual_one_stays(host):
    address = f"wss://{host}/v1/bridges/calls"
    check(signed(address), address=address)
    refused = signed(f"wss://{host.rpartition(':')[0]}/v1/bridges/calls")
    assert refusal_of(refused, address=address) == "signature_wrong"


def test_an_address_without_a_path_or_with_a_bare_ipv6_host_has_its_forms_too():
    check(signed("wss://stt.example/"), address="wss://stt.example")
    check(signed("wss://stt.example"), address="wss://stt.example/")
    check(signed("wss://[2001:db8::1]:443/a"), address="wss://[2001:db8::1]/a")


def test_no_signature_or_several_are_refused_as_missing():
    assert refusal_of("") == "signature_missing"
    assert refusal_of(signed(), ("x-twilio-signature", signed())) == "signature_missing"
    with pytest.raises(errors.RefusedError) as caught:
        check_twilio_signature(Upgrade("/v1/bridges/calls"), ADDRESS, [secret()])
    assert caught.value.reason == "signature_missing"


@pytest.mark.parametrize("signature", ["x", "ü" * 28, "\ud800", signed()[:-1], signed() + "A"])
def test_what_is_no_signature_is_refused_as_wrong(signature):
    assert refusal_of(signature) == "signature_wrong"


def test_while_secrets_are_changed_either_opens():
    old, new = secret("a" * 32), secret("b" * 32)
    for auth_token in ("a" * 32, "b" * 32):
        check(signed(auth_token=auth_token), secrets=[old, new])
    assert refusal_of(signed(auth_token="c" * 32), secrets=[old, new]) == "signature_wrong"


def test_without_a_secret_or_with_an_empty_one_nobody_comes_in():
    assert refusal_of(signed(), secrets=[]) == "signature_wrong"
    assert refusal_of(signed(auth_token=""), secrets=[secret("")]) == "signature_wrong"


def test_a_shared_key_signs_by_sha_256_where_the_header_says_so():
    settings = ("x-twilio-webhooks-signature-settings", SHA256_SETTINGS)
    check(signed(algorithm="HMAC_SHA256"), settings)
    check(signed(algorithm="HMAC_SHA256"), (settings[0], "key=1, algorithm=hmac_sha256"))
    assert refusal_of(signed(), settings) == "signature_wrong"
    assert refusal_of(signed(algorithm="HMAC_SHA256")) == "signature_wrong"


def test_an_unknown_algorithm_is_refused_and_none_means_the_old_one():
    name = "x-twilio-webhooks-signature-settings"
    assert refusal_of(signed(), (name, "key=1,algorithm=HMAC_MD5")) == "signature_wrong"
    check(signed(), (name, "key=1"))


def test_a_signature_is_not_shown_in_the_repr_of_the_upgrade():
    assert signed() not in repr(upgrade(signed()))
