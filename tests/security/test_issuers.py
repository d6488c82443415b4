"""Settings of several issuers and their tokens in; claims of each, or a refusal, out."""

from dataclasses import replace

import pytest

from security.errors import KeyFileError, TokenError, TokenReason
from security.issuers import Issuers, IssuerSettings, open_issuers, open_local_issuer
from security.jwks import JwksCache
from security.keys import create_signing_key, open_signing_key
from security.rules import GUESSED, NOT_AUTHENTICATED
from security.tokens import TokenPolicy, TokenVerifier, mint_token
from tests.security.forge import (
    AUDIENCE,
    ISSUERS,
    NOW_S,
    SECRET,
    claims,
    header,
    jwk,
    jwks,
    pem,
    private_key,
    signed,
)
from tests.security.issuer_fakes import FakeIssuer, ManualTime, answering, http, running

LOCAL = TokenPolicy("earwitness", AUDIENCE)
FETCHED = IssuerSettings(ISSUERS["ES256"], AUDIENCE, "ES256", "https://id.test/jwks")


@pytest.fixture
def local(tmp_path):
    create_signing_key(tmp_path / "signing.pem")
    return open_local_issuer(LOCAL, tmp_path / "signing.pem", tmp_path / "retired.jwks")


def fetching(issuer, time):
    """One issuer, whose keys are fetched."""
    cache = JwksCache(FETCHED.issuer, "ES256", issuer.fetch, time.clock, time.sleep)
    verifier = TokenVerifier([(FETCHED.policy, cache)])
    return Issuers(verifier, {FETCHED.issuer: cache})


def token(key_id="k-1"):
    return signed("ES256", head=header("ES256", kid=key_id))


async def test_each_issuer_has_its_own_keys_in_files(tmp_path, local):
    files = {
        "EdDSA": pem(private_key("EdDSA")),
        "ES256": jwks(jwk("ES256")),
        "RS256": pem(private_key("RS256")),
        "HS256": SECRET,
    }
    others = []
    for algorithm, content in files.items():
        (tmp_path / algorithm).write_bytes(content)
        (tmp_path / algorithm).chmod(0o600)
        key_id = None if algorithm == "ES256" else "k-1"
        path = str(tmp_path / algorithm)
        others.append(IssuerSettings(ISSUERS[algorithm], AUDIENCE, algorithm, path, key_id))
    assert [settings.faults() for settings in others] == [[]] * 4
    issuers = open_issuers(local, others, ManualTime().clock)
    for algorithm in files:
        assert (await issuers.verify(signed(algorithm), NOW_S)).issuer == ISSUERS[algorithm]
    key = open_signing_key(tmp_path / "signing.pem")
    own = mint_token(key, LOCAL, subject="a", scopes=set(), lifetime_s=9, wall_s=NOW_S)
    assert (await issuers.verify(own, NOW_S)).issuer == "earwitness"
    async with running(issuers.run):
        pass


async def test_keys_are_fetched_from_an_address(local):
    async with answering(http(jwks(jwk("ES256")))) as (url, asked):
        settings = replace(FETCHED, keys=url)
        assert settings.faults() == []
        issuers = open_issuers(local, [settings], ManualTime().clock)
        await issuers.refresh()
        assert (await issuers.verify(token(), NOW_S)).issuer == FETCHED.issuer
        async with running(issuers.run):
            pass
    assert asked


def test_a_key_file_that_cannot_be_used_is_told_at_the_start(tmp_path, local):
    with pytest.raises(KeyFileError):
        open_issuers(local, [replace(FETCHED, keys=str(tmp_path / "no"))], ManualTime().clock)


async def test_a_rotation_of_the_issuer_refuses_nobody():
    """The next key is published and signed with at once, then the former goes."""
    issuer, time = FakeIssuer("k-1"), ManualTime()
    issuers = fetching(issuer, time)
    async with running(issuers.run):
        for published, signing in [
            (("k-1",), "k-1"),
            (("k-1", "k-2"), "k-2"),
            (("k-1", "k-2"), "k-1"),
            (("k-2",), "k-2"),
            (("k-2", "k-3"), "k-3"),
        ]:
            issuer.publish(*published)
            for _ in range(100):
                assert (await issuers.verify(token(signing), NOW_S)).key_id == signing
            await time.move(331)
        with pytest.raises(TokenError):
            await issuers.verify(token("k-1"), NOW_S)


async def test_an_issuer_that_is_down_for_an_hour_is_not_missed_by_who_has_its_tokens():
    issuer, time = FakeIssuer("k-1"), ManualTime()
    issuers = fetching(issuer, time)
    async with running(issuers.run):
        issuer.is_down = True
        for second in range(0, 3600, 30):
            late = signed("ES256", payload=claims("ES256", iat=NOW_S + second, exp=NOW_S + 3600))
            assert await issuers.verify(late, NOW_S + second)
            await time.move(30)


async def test_while_keys_cannot_be_fetched_an_unknown_one_is_not_told_as_guessed():
    issuer, time = FakeIssuer("k-1"), ManualTime()
    issuer.is_down = True
    issuers = fetching(issuer, time)
    async with running(issuers.run):
        with pytest.raises(TokenError) as caught:
            await issuers.verify(token("k-1"), NOW_S)
    assert caught.value.reason is TokenReason.KEYS_UNREACHABLE
    assert f"token_{TokenReason.KEYS_UNREACHABLE}" in NOT_AUTHENTICATED - GUESSED


async def test_a_flood_of_unknown_keys_is_refused_with_one_question():
    issuer, time = FakeIssuer("k-1"), ManualTime()
    issuers = fetching(issuer, time)
    async with running(issuers.run):
        for number in range(10_000):
            with pytest.raises(TokenError) as caught:
                await issuers.verify(token(f"x-{number}"), NOW_S)
            assert caught.value.reason is TokenReason.UNKNOWN_KEY
        assert issuer.n_fetches == 2
        assert await issuers.verify(token("k-1"), NOW_S)


async def test_nothing_but_an_unknown_key_asks_the_issuer(local):
    issuer, time = FakeIssuer("k-1"), ManualTime()
    issuers = fetching(issuer, time)
    async with running(issuers.run):
        bad = [signed("ES256", payload=claims("ES256", exp=1)), token("no/key"), "x", signed()]
        for text in bad:
            with pytest.raises(TokenError):
                await issuers.verify(text, NOW_S)
        assert issuer.n_fetches == 1


async def test_an_unknown_key_of_an_issuer_with_a_file_is_refused_at_once(local):
    issuers = open_issuers(local, [], ManualTime().clock)
    stranger = signed(payload=claims(iss="earwitness"))
    with pytest.raises(TokenError) as caught:
        await issuers.verify(stranger, NOW_S)
    assert caught.value.reason is TokenReason.UNKNOWN_KEY


def test_an_issuer_may_name_the_audience_of_administrators():
    assert FETCHED.policy.for_admin == f"{AUDIENCE}/admin"
    named = replace(FETCHED, admin_audience="https://ear.test/desk")
    assert (named.faults(), named.policy.for_admin) == ([], "https://ear.test/desk")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"issuer": ""}, "issuer"),
        ({"issuer": "a b"}, "issuer"),
        ({"audience": ""}, "audience"),
        ({"admin_audience": ""}, "admin_audience"),
        ({"admin_audience": AUDIENCE}, "admin_audience"),
        ({"keys": ""}, "keys"),
        ({"keys": "http://id.test/jwks"}, "keys"),
        ({"keys": "ftp://id.test/jwks"}, "keys"),
        ({"keys": "file:///etc/passwd"}, "keys"),
        ({"keys": "https://me:secret@id.test/jwks"}, "keys"),
        ({"keys": "https://"}, "keys"),
        ({"keys": "https://[::1"}, "keys"),
        ({"keys": "http://127.0.0.1.evil.test/jwks"}, "keys"),
        ({"keys": "http://10.0.0.1/jwks"}, "keys"),
        ({"algorithm": "HS256"}, "keys"),
        ({"key_id": "no name"}, "key_id"),
        ({"proxy": "socks5://127.0.0.1"}, "proxy"),
        ({"leeway_s": -1}, "leeway_s"),
        ({"max_age_s": -1}, "max_age_s"),
        ({"max_lifetime_s": -1}, "max_lifetime_s"),
        ({"max_token_bytes": -1}, "max_token_bytes"),
    ],
)
def test_settings_that_are_wrong_are_told_by_field_and_never_by_value(changes, field):
    [fault] = replace(FETCHED, **changes).faults()
    assert fault.startswith(f"{field}: ")
    assert "secret" not in fault


@pytest.mark.parametrize(
    "keys",
    [
        *("https://id.test/jwks", "http://127.0.0.1:8080/jwks", "http://[::1]/jwks"),
        *("http://localhost/jwks", "keys/idp.pem", "/etc/earwitness/idp.jwks"),
    ],
)
def test_a_file_an_https_address_or_one_of_this_machine_is_right(keys):
    assert replace(FETCHED, keys=keys, proxy="http://proxy.test:3128").faults() == []
