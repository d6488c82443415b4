"""`run.py token …` on a data folder: what is minted, told, revoked and put on record."""

import json
import time

import pytest
from typer.testing import CliRunner

from security.audit import token_hash_of
from security.keys import open_signing_key
from security.limits import Limits
from security.revocation_file import RevocationFile
from security.tokens import TokenVerifier, mint_token
from server.command_line import account_name
from server.config import load_settings
from server.provision import make_keys
from server.token_commands import app
from tests.security.forge import (
    AUDIENCE,
    ISSUERS,
    claims,
    jwk,
    jwks,
    pem,
    private_key,
    signed,
)
from tests.server.commands import complaint, shown, spoil_trail
from tests.trail_rows import read_trail

FOREVER = {"iat": 1, "exp": 4_000_000_000}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path / "data"))
    (tmp_path / "idp.jwks").write_bytes(jwks(jwk("ES256")))
    other = {
        "issuer": ISSUERS["ES256"],
        "audience": AUDIENCE,
        "algorithm": "ES256",
        "keys": str(tmp_path / "idp.jwks"),
        "max_lifetime_s": 4_000_000_000,
    }
    monkeypatch.setenv("EARWITNESS_ISSUERS", json.dumps([other]))
    made = load_settings()
    make_keys(made)
    return made


@pytest.fixture
def token_file(tmp_path):
    def written(token):
        (tmp_path / "token").write_text(token + "\n")
        return str(tmp_path / "token")

    return written


def now_s():
    return time.time()  # noqa: TID251 (the commands live by it)


def verified(settings, token):
    public = open_signing_key(settings.signing_key_file).public_key()
    return TokenVerifier.of_one(settings.token_policy, public).verify(token, now_s())


def trail(settings):
    return read_trail(settings.trail)


def told(token_file, token, exit_code=0):
    result = CliRunner().invoke(app, ["inspect", "--token-file", token_file(token)])
    assert (result.exit_code, result.stderr) == (exit_code, "")
    assert token not in result.stdout
    assert token.rsplit(".", 1)[-1] not in result.stdout
    return result.stdout.splitlines()


def revoked(settings, token):
    file = RevocationFile(settings.revocations_file, now_s())
    return file.current.is_revoked(verified(settings, token))


def test_a_minted_token_says_what_was_asked_for(settings):
    [token] = shown(
        app,
        *("mint", "--subject", "alice", "--lifetime-s", "60"),
        *("--model", "tiny.en", "--model", "base", "--language", "en"),
        *("--audio-s", "1", "--bytes", "2", "--session-s", "3", "--idle-s", "4", "--pace", "125"),
        *("--sessions", "6", "--day-audio-s", "7", "--starts", "8"),
    )
    got = verified(settings, token)
    assert (got.subject, got.expires_at_s - got.issued_at_s) == ("alice", 60)
    assert (got.scopes, got.is_for_admin) == ({"transcribe"}, False)
    assert (got.models, got.languages) == ({"tiny.en", "base"}, {"en"})
    assert got.limits == Limits(1, 2, 3, 4, 125, 6, 7, 8)


def test_a_minted_token_says_which_calls_of_whom_it_reads(settings):
    [token] = shown(
        app,
        *("mint", "--scope", "calls", "--call-owner", "pbx", "--call-owner", "*"),
        *("--call", "c-1", "--call", "a/b"),
    )
    got = verified(settings, token)
    assert got.scopes == {"calls"}
    assert (got.call_owners, got.calls) == ({"pbx", "*"}, {"c-1", "a/b"})
    [token] = shown(app, "mint", "--scope", "calls")
    assert verified(settings, token).call_owners is verified(settings, token).calls is None


def test_a_token_for_administrators_is_for_them_alone(settings, token_file):
    [token] = shown(app, "mint", "--scope", "admin", "--scope", "audit")
    got = verified(settings, token)
    assert (got.scopes, got.is_for_admin) == ({"admin", "audit"}, True)
    assert "aud: earwitness/admin" in told(token_file, token)
    line = complaint(app, "mint", "--scope", "transcribe", "--scope", "admin", exit_code=2)
    assert "--scope" in line


def test_what_the_trail_calls_a_token_is_told(settings, token_file):
    [token] = shown(app, "mint")
    line = f"token_hash: {token_hash_of(verified(settings, token).token_id)}"
    assert line in told(token_file, token)


def test_a_minted_token_is_on_record_and_not_in_it(settings):
    [token] = shown(app, "mint", "--subject", "alice", "--scope", "audit")
    _, row = trail(settings)
    assert (row.event, row.subject, row.token_hash) == (
        "token.minted",
        "alice",
        token_hash_of(verified(settings, token).token_id),
    )
    assert row.detail == {
        "by": account_name(),
        "issuer": "earwitness",
        "lifetime_s": 900,
        "scopes": "audit",
    }
    assert token not in str(row)


def test_without_a_word_a_token_is_for_transcribing_without_limits(settings):
    got = verified(settings, shown(app, "mint")[0])
    assert (got.subject, got.scopes, got.limits) == ("developer", {"transcribe"}, Limits())
    assert got.models is got.languages is None


def test_keys_are_made_when_there_are_none(settings):
    settings.signing_key_file.unlink()
    settings.signing_key_file.with_name("signing.pem.pub").unlink()
    assert verified(settings, shown(app, "mint")[0])


def test_what_cannot_be_recorded_is_not_minted_but_revoked_all_the_same(settings):
    [token] = shown(app, "mint", "--subject", "alice")
    spoil_trail(settings)
    complaint(app, "mint", exit_code=5)
    assert "counts no more" in complaint(app, "revoke", "--subject", "alice", exit_code=5)
    assert revoked(settings, token) == "revoked_subject"


def test_a_token_that_would_live_too_long_is_not_minted(settings):
    complaint(app, "mint", "--lifetime-s", "999999", exit_code=2)
    assert not settings.trail.folder.exists()


def test_a_good_token_is_told_and_would_be_accepted(settings, token_file):
    [token] = shown(app, "mint", "--subject", "alice", "--pace", "125")
    lines = told(token_file, token)
    assert "alg: EdDSA" in lines
    assert "sub: alice" in lines
    assert "earwitness: {'pace_percent': 125}" in lines
    [expiry] = [line for line in lines if line.startswith("exp: ")]
    assert expiry.endswith("Z)")
    assert lines[-1] == "accepted: yes"


def test_a_token_may_come_from_standard_input(settings):
    [token] = shown(app, "mint")
    result = CliRunner().invoke(app, ["inspect"], input=token)
    assert result.stdout.splitlines()[-1] == "accepted: yes"


def test_a_token_of_another_issuer_is_told(settings, token_file):
    lines = told(token_file, signed("ES256", payload=claims("ES256", azp="x", **FOREVER)))
    assert f"iss: {ISSUERS['ES256']}" in lines
    assert "claims that mean nothing here: 1" in lines
    assert lines[-1] == "accepted: yes"


@pytest.mark.parametrize(
    ("token", "line"),
    [
        (signed("ES256", payload=claims("ES256", exp=2, iat=1)), "token_expired"),
        (signed(), "token_wrong_issuer"),
        (signed("ES256")[:-8] + "AAAAAAAA", "token_bad_signature"),
        (signed("ES256", payload=claims("ES256", exp="x\x1b[2J", iat=10**30)), "token_bad_claims"),
        ("hello", "token_malformed"),
        ("hello.wörld", "token_malformed"),
    ],
)
def test_why_a_token_would_be_refused_is_told(settings, token_file, token, line):
    lines = told(token_file, token, exit_code=1)
    assert lines[-1] == f"accepted: no, {line}"
    assert "\x1b" not in "".join(lines)


def test_a_token_that_is_none_says_nothing(settings, token_file):
    assert told(token_file, "hello", exit_code=1)[0] == "not a token"


def test_a_token_is_revoked_by_its_file(settings, token_file):
    one, other = (shown(app, "mint")[0] for _ in range(2))
    shown(app, "revoke", "--token-file", token_file(one))
    assert revoked(settings, one) == "revoked_token"
    assert revoked(settings, other) is None
    assert told(token_file, one, exit_code=1)[-1] == "accepted: no, revoked_token"
    row = trail(settings)[-1]
    assert (row.event, row.reason) == ("token.revoked", "revoked_token")
    assert row.token_hash == token_hash_of(verified(settings, one).token_id)
    assert one not in settings.revocations_file.read_text()


def test_a_token_is_revoked_by_its_id(settings):
    [token] = shown(app, "mint")
    shown(app, "revoke", "--token-id", verified(settings, token).token_id)
    assert revoked(settings, token) == "revoked_token"


def test_a_subjects_tokens_are_revoked_until_now(settings):
    [token] = shown(app, "mint", "--subject", "alice")
    shown(app, "revoke", "--subject", "alice")
    assert revoked(settings, token) == "revoked_subject"
    key = open_signing_key(settings.signing_key_file)
    given = {"subject": "alice", "scopes": set(), "lifetime_s": 60, "wall_s": now_s() + 2}
    assert revoked(settings, mint_token(key, settings.token_policy, **given)) is None
    assert trail(settings)[-1].subject == "alice"


def test_a_key_is_revoked_with_all_it_signed(settings):
    [token] = shown(app, "mint")
    key_id = verified(settings, token).key_id
    shown(app, "revoke", "--key-id", key_id)
    assert revoked(settings, token) == "revoked_key"
    assert trail(settings)[-1].detail == {
        "by": None,
        "issuer": "earwitness",
        "key_id": key_id,
    }


def test_under_a_revoked_key_no_token_is_made(settings):
    [token] = shown(app, "mint")
    shown(app, "revoke", "--key-id", verified(settings, token).key_id)
    assert "keys rotate-signing" in complaint(app, "mint", exit_code=4)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--lifetime-s", "3601"), ("--subject", ""), ("--subject", "a" * 256), ("--scope", "root")],
)
def test_a_token_that_nobody_would_take_is_not_made(settings, option, value):
    assert option in complaint(app, "mint", option, value, exit_code=2)


def test_what_is_revoked_may_be_of_another_issuer(settings, token_file):
    token = signed("ES256", payload=claims("ES256", **FOREVER))
    shown(app, "revoke", "--key-id", "k-1", "--issuer", ISSUERS["ES256"])
    assert told(token_file, token, exit_code=1)[-1] == "accepted: no, revoked_key"


def test_a_token_that_is_not_accepted_anyway_is_not_revoked(settings, token_file):
    complaint(app, "revoke", "--token-file", token_file(signed()), exit_code=2)
    assert not settings.revocations_file.exists()


@pytest.mark.parametrize("arguments", [[], ["--subject", "a", "--key-id", "k"]])
def test_one_thing_is_revoked_at_a_time(settings, arguments):
    assert "one of" in complaint(app, "revoke", *arguments, exit_code=2)


def test_nothing_is_revoked_of_an_issuer_that_is_not_known(settings):
    line = complaint(app, "revoke", "--subject", "a", "--issuer", "https://no.test", exit_code=2)
    assert "no such issuer" in line


def test_a_file_that_is_not_there_is_told(settings, tmp_path):
    complaint(app, "inspect", "--token-file", str(tmp_path / "no"), exit_code=2)


def test_an_issuer_that_is_down_is_no_obstacle_for_others(settings, monkeypatch, token_file):
    other = {
        "issuer": "https://down.test",
        "audience": "a",
        "algorithm": "RS256",
        "keys": "http://127.0.0.1:9/jwks",
    }
    monkeypatch.setenv("EARWITNESS_ISSUERS", json.dumps([other]))
    assert told(token_file, shown(app, "mint")[0])[-1] == "accepted: yes"


def test_a_key_of_an_issuer_may_lie_in_a_pem_file(settings, monkeypatch, tmp_path, token_file):
    (tmp_path / "idp.pem").write_bytes(pem(private_key("EdDSA")))
    other = {"issuer": ISSUERS["EdDSA"], "audience": AUDIENCE, "algorithm": "EdDSA"}
    other |= {"keys": str(tmp_path / "idp.pem"), "key_id": "k-1", "max_lifetime_s": 4_000_000_000}
    monkeypatch.setenv("EARWITNESS_ISSUERS", json.dumps([other]))
    assert told(token_file, signed(payload=claims(**FOREVER)))[-1] == "accepted: yes"


@pytest.mark.parametrize(
    ("environment", "page"),
    [
        ({}, "http://127.0.0.1:8765"),
        ({"EARWITNESS_SIGN_IN__ADDRESS": "https://a.example"}, "https://a.example"),
    ],
)
def test_a_token_can_come_as_an_address_of_the_page(settings, monkeypatch, environment, page):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    [line] = shown(app, "mint", "--page")
    address, _, token = line.partition("/#token=")
    assert address == page
    assert verified(settings, token).signed_in_at_s is None


def test_the_page_of_a_server_on_any_port_is_not_known(settings, monkeypatch):
    monkeypatch.setenv("EARWITNESS_LISTEN__PORT", "0")
    assert "--page" in complaint(app, "mint", "--page", exit_code=2)


def test_nobody_is_minted_a_token_of_somebody_who_signs_in_elsewhere(settings):
    assert "oidc:" in complaint(app, "mint", "--subject", "oidc:0123456789ab:x", exit_code=2)
