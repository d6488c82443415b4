"""Providers of identities that are well, away or hostile in; who somebody is, or nobody, out."""

import asyncio
import time as real_time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from security import oidc, outgoing
from security.errors import ProviderError, TokenError
from security.oidc import Provider, Question
from server.sign_in_journeys import Journeys
from tests.providing import CLIENT_SECRET, providing
from tests.security.forge import jwk, jwks
from tests.security.issuer_fakes import ManualTime

HERE = "http://127.0.0.1:8765/v1/sign-in/callback"


@pytest.fixture
def fake():
    with providing() as fake:
        yield fake


def wall_clock():
    return real_time.time()  # noqa: TID251 (the provider lives by it)


async def come_back(provider, fake, **changes):
    """Off to the provider and back: what it says of who it was."""
    journey = Journeys().begin("192.0.2.1", 0.0)
    question = Question(journey.state, journey.nonce, journey.challenge, HERE)
    address = await provider.address_for(question)
    back = parse_qs(urlsplit(fake.authorized(urlsplit(address).query)).query)
    assert back["state"] == [journey.state]
    await provider.check_answerer(back["iss"][0] if "iss" in back else None)
    given = {
        "code": back["code"][0],
        "verifier": journey.verifier,
        "nonce": journey.nonce,
        "redirect_uri": HERE,
        **changes,
    }
    return await provider.subject_of(**given, wall_clock=wall_clock)


async def refusal(provider, fake, **changes):
    with pytest.raises((ProviderError, TokenError)) as refused:
        await come_back(provider, fake, **changes)
    return refused.value.reason


def provider_of(fake, clock=real_time.monotonic, **changes):
    return Provider(replace(fake.settings, **changes), clock)


async def test_who_comes_back_is_who_the_provider_says(fake):
    provider = provider_of(fake)
    assert (provider.name, provider.issuer) == ("Ward Login", fake.address)
    assert await come_back(provider, fake) == "u-17"
    assert await come_back(provider, fake) == "u-17"
    known = ["/.well-known/openid-configuration", "/token", "/jwks", "/token"]
    assert fake.asked == known  # what it says of itself is asked for once


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_the_algorithm_is_that_of_the_settings(fake, algorithm):
    fake.algorithm = algorithm
    assert await come_back(provider_of(fake), fake) == "u-17"
    assert await refusal(provider_of(fake, algorithm="RS256"), fake) in {
        "wrong_algorithm",
        "unreachable",
    }


async def test_a_client_with_a_secret_shows_it(fake, tmp_path):
    path = tmp_path / "secret"
    path.write_text(CLIENT_SECRET + "\n")
    path.chmod(0o600)
    fake.secret = CLIENT_SECRET
    assert await come_back(provider_of(fake, client_secret_file=path), fake) == "u-17"
    path.write_text("another")
    assert await refusal(provider_of(fake, client_secret_file=path), fake) == "refused"
    path.chmod(0o644)
    assert await refusal(provider_of(fake, client_secret_file=path), fake) == "refused"
    path.unlink()
    assert await refusal(provider_of(fake, client_secret_file=path), fake) == "refused"


@pytest.mark.parametrize(
    "changes",
    [
        {"verifier": "x" * 43},
        {"code": "never given"},
        {"redirect_uri": "http://127.0.0.1:8765/elsewhere"},
    ],
)
async def test_the_provider_checks_code_verifier_and_address(fake, changes):
    assert await refusal(provider_of(fake), fake, **changes) == "refused"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "another"}, "wrong_nonce"),
        ({"aud": "another"}, "wrong_audience"),
        ({"iss": "https://other.test"}, "wrong_issuer"),
        ({"exp": 1}, "expired"),
        ({"sub": None}, "bad_claims"),
    ],
)
async def test_an_id_token_that_does_not_fit_is_nobodys(fake, claims, reason):
    fake.claims = claims
    assert await refusal(provider_of(fake), fake) == reason


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256"])
async def test_an_id_token_under_another_algorithm_is_nobodys(fake, algorithm):
    fake.signed_as = algorithm
    assert await refusal(provider_of(fake), fake) == "wrong_algorithm"


async def test_only_those_with_the_claim_are_let_in(fake):
    provider = provider_of(fake, required_claim="groups", required_value="staff")
    assert await refusal(provider, fake) == "claim_missing"
    fake.claims = {"groups": ["staff"]}
    assert await come_back(provider, fake) == "u-17"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.test"},
        {"issuer": None},
        {"token_endpoint": None},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://user:pw@127.0.0.1/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://id.test/\r\nset-cookie: a=b"},
        {"authorization_endpoint": "https://id.test/a#code=x"},
        {"code_challenge_methods_supported": ["plain"]},
        {"id_token_signing_alg_values_supported": ["HS256"]},
        {"jwks_uri": 17},
    ],
)
async def test_what_it_says_of_itself_must_fit_the_settings(fake, metadata):
    fake.metadata = metadata
    assert await refusal(provider_of(fake), fake) == "bad_metadata"


async def test_a_provider_over_https_names_no_plain_addresses(fake):
    metadata = oidc._Metadata(
        "https://id.test", "https://id.test/a", fake.address, "https://b.test"
    )
    provider = provider_of(fake, issuer="https://id.test")
    assert not provider._fits(metadata)


@pytest.mark.parametrize("iss", [None, "https://other.test", ""])
async def test_an_answer_of_another_provider_is_refused_before_its_code_is_shown(fake, iss):
    fake.callback = {"iss": iss}
    assert await refusal(provider_of(fake), fake) == "bad_answer"
    assert "/token" not in fake.asked


async def test_a_provider_that_does_not_say_who_answers_need_not(fake):
    fake.metadata = {"authorization_response_iss_parameter_supported": None}
    fake.callback = {"iss": None}
    assert await come_back(provider_of(fake), fake) == "u-17"
    fake.callback = {"iss": "https://other.test"}
    assert await refusal(provider_of(fake), fake) == "bad_answer"


async def endless():
    for _ in range(1000):  # as good as, and it ends when nobody is there any more
        yield b"x" * 65_536
        await asyncio.sleep(0)


async def silent():
    yield b'{"id_token": '
    await asyncio.sleep(2)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Response(b"not JSON"), "bad_answer"),
        (JSONResponse(["a"]), "bad_answer"),
        (JSONResponse({"id_token": None}), "bad_answer"),
        (JSONResponse({"access_token": "x"}), "bad_answer"),
        (JSONResponse({"error": "invalid_client"}, 401), "refused"),
        (JSONResponse({}, 500), "unreachable"),
        (RedirectResponse("/token", 307), "unreachable"),
        (Response(b"{}", headers={"content-encoding": "gzip"}), "refused"),
        (StreamingResponse(endless()), "refused"),
    ],
)
async def test_odd_answers_with_a_token_are_none(fake, answer, reason):
    fake.token_answer = answer
    assert await refusal(provider_of(fake), fake) == reason
    assert fake.asked.count("/token") == 1


async def test_an_answer_that_does_not_end_is_not_waited_for(fake, monkeypatch):
    monkeypatch.setattr(oidc, "_LIMIT_S", 0.2)
    fake.token_answer = StreamingResponse(silent())
    assert await refusal(provider_of(fake), fake) == "unreachable"


async def test_a_provider_that_is_away_is_asked_again_after_a_while():
    time = ManualTime()
    with providing() as fake:
        provider = provider_of(fake, time.clock)
        fake.metadata = {"issuer": "https://other.test"}
        assert await refusal(provider, fake) == "bad_metadata"
        fake.metadata = {}
        assert await refusal(provider, fake) == "unreachable"
        assert len(fake.asked) == 1
        time.now_s += 5
        assert await come_back(provider, fake) == "u-17"
    time.now_s += 3600
    assert await refusal(provider, fake) == "unreachable"


async def test_keys_that_were_changed_are_fetched(fake):
    provider = provider_of(fake)
    fake.published = jwks(jwk("RS256", kid="old"))
    assert await refusal(provider, fake) == "unknown_key"
    fake.published = None
    assert await come_back(provider, fake) == "u-17"


async def test_keys_are_fetched_again_after_an_hour_as_is_what_it_says_of_itself(fake):
    time = ManualTime()
    provider = provider_of(fake, time.clock)
    assert await come_back(provider, fake) == "u-17"
    time.now_s += 3600.5
    assert await come_back(provider, fake) == "u-17"
    assert fake.asked.count("/jwks") == fake.asked.count("/.well-known/openid-configuration") == 2


async def test_keys_that_cannot_be_had_are_told_from_unknown_ones(fake):
    fake.published = b"no keys"
    assert await refusal(provider_of(fake), fake) == "unreachable"
    with pytest.raises(ProviderError):
        await provider_of(fake).look()


async def test_a_command_can_look_whether_it_is_well(fake):
    await provider_of(fake).look()
    assert fake.asked == ["/.well-known/openid-configuration", "/jwks"]


async def reasons_of_many(provider):
    given = {"code": "x", "verifier": "v", "nonce": "n", "redirect_uri": HERE}
    asked = [provider.subject_of(**given, wall_clock=wall_clock) for _ in range(20)]
    told = await asyncio.gather(*asked, return_exceptions=True)  # noqa: TID251 (of errors)
    return sorted(error.reason for error in told)


async def test_no_more_than_so_many_codes_are_exchanged_at_once_and_the_others_wait(
    fake, monkeypatch
):
    now, most = 0, 0

    async def ask(url, way, form=None, headers=None):
        nonlocal now, most
        now += 1
        most = max(now, most)
        try:
            return await outgoing.ask(url, way, form, headers)
        finally:
            now -= 1

    monkeypatch.setattr(oidc, "ask", ask)
    assert await reasons_of_many(provider_of(fake)) == ["refused"] * 20
    assert most == 8


async def test_who_waits_for_others_too_long_is_told_so(fake, monkeypatch):
    monkeypatch.setattr(oidc, "_LIMIT_OF_WAITING_S", 0.0)
    assert await reasons_of_many(provider_of(fake)) == ["refused"] * 8 + ["unreachable"] * 12


async def test_where_people_are_sent_is_the_providers_page_with_our_question(fake):
    provider = provider_of(fake, scopes=("openid", "profile"))
    address = await provider.address_for(Question("s", "n", "c", HERE))
    assert address.startswith(f"{fake.address}/authorize?realm=ward&response_type=code&")
    assert parse_qs(urlsplit(address).query)["scope"] == ["openid profile"]
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(address)
    assert answer.status_code == 302
