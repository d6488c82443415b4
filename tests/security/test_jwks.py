"""Issuers that rotate, are down, flooded or hostile in; keys at hand, and few questions, out."""

import asyncio

import pytest

from security import jwks as jwks_module
from security.errors import TokenKeyError
from security.jwks import MAX_BYTES, JwksAddress, JwksCache
from tests.security.forge import NOW_S, jwk
from tests.security.forge import jwks as document_of
from tests.security.issuer_fakes import (
    FakeIssuer,
    ManualTime,
    answering,
    http,
    running,
    settled,
)

DOCUMENT = document_of(jwk("ES256"))


@pytest.fixture
def time():
    return ManualTime()


def cache_of(issuer, time):
    return JwksCache("https://id.test", issuer.algorithm, issuer.fetch, time.clock, time.sleep)


async def test_keys_are_fetched_at_the_start_and_again_every_few_minutes(time):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    assert cache.find("k-1", NOW_S) is None
    async with running(cache.run):
        assert cache.find("k-1", NOW_S).algorithm == "ES256"
        issuer.publish("k-2")
        await time.move(269)
        assert issuer.n_fetches == 1
        await time.move(62)
        assert issuer.n_fetches == 2
        assert cache.find("k-1", NOW_S) is None
        assert cache.find("k-2", NOW_S)


async def test_an_issuer_that_is_down_for_an_hour_is_not_missed(time, capfd):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    async with running(cache.run):
        issuer.is_down = True
        for _ in range(120):
            await time.move(30)
            assert cache.find("k-1", NOW_S)
        assert 60 <= issuer.n_fetches <= 150
        issuer.is_down = False
        await time.move(400)
        assert cache.age_s < 330
    logged = "".join(capfd.readouterr())
    assert logged.count("cannot be fetched") == logged.count("fetched again") == 1


async def test_after_a_day_without_the_issuer_its_keys_count_no_more(time):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    async with running(cache.run):
        issuer.is_down = True
        await time.move(24 * 3600 - 1)
        assert cache.find("k-1", NOW_S)
        await time.move(2)
        assert cache.find("k-1", NOW_S) is None
        issuer.is_down = False
        await time.move(34)
        assert cache.find("k-1", NOW_S)


async def test_an_issuer_that_is_down_at_the_start_is_asked_again_soon(time):
    issuer = FakeIssuer("k-1")
    issuer.is_down = True
    cache = cache_of(issuer, time)
    async with running(cache.run):
        assert cache.find("k-1", NOW_S) is None
        issuer.is_down = False
        await time.move(34)
        assert cache.find("k-1", NOW_S)


@pytest.mark.parametrize("document", [b"", b'{"keys":[]}', document_of(jwk("RS256"))])
async def test_an_answer_without_a_usable_key_changes_nothing(time, document):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    async with running(cache.run):
        issuer.document = document
        await time.move(400)
        assert issuer.n_fetches >= 2
        assert cache.find("k-1", NOW_S)


async def test_ten_thousand_unknown_keys_are_one_question_in_half_a_minute(time):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    async with running(cache.run):
        regular = issuer.n_fetches
        for _ in range(10):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(1000):
                    tasks.create_task(cache.refresh_for_unknown_key())
            await time.move(3)
        assert issuer.n_fetches - regular == 1
        await cache.refresh_for_unknown_key()
        assert issuer.n_fetches - regular == 2


async def test_who_comes_while_others_wait_gets_their_answer(time):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    async with running(cache.run):
        issuer.publish("k-2")
        issuer.gate = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(cache.refresh_for_unknown_key()) for _ in range(3)]
            await settled()
            waiting += [tasks.create_task(cache.refresh_for_unknown_key()) for _ in range(3)]
            await settled()
            assert not any(task.done() for task in waiting)
            issuer.gate.set()
        assert issuer.n_fetches == 2
        assert cache.find("k-2", NOW_S)


async def test_who_hangs_up_does_not_end_the_fetch_that_others_wait_for(time):
    issuer = FakeIssuer("k-1")
    cache = cache_of(issuer, time)
    async with running(cache.run):
        issuer.publish("k-2")
        issuer.gate = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(cache.refresh_for_unknown_key())
            await settled()
            tasks.create_task(cache.refresh_for_unknown_key())
            await settled()
            first.cancel()
            await settled()
            issuer.gate.set()
        assert issuer.n_fetches == 2
        assert cache.find("k-2", NOW_S)


async def test_nobody_waits_for_ever_when_nothing_fetches(time, monkeypatch):
    monkeypatch.setattr(jwks_module, "_WAIT_LIMIT_S", 0.01)
    issuer = FakeIssuer("k-1")
    await cache_of(issuer, time).refresh_for_unknown_key()
    assert issuer.n_fetches == 0


async def test_a_document_is_fetched_without_anything_that_could_tell_who_asks():
    async with answering(http(DOCUMENT, headers=["set-cookie: a=b"])) as (url, asked):
        address = JwksAddress(url)
        assert await address.fetch() == DOCUMENT
        assert await address.fetch() == DOCUMENT
    assert [request.split(b"\r\n")[0] for request in asked] == [b"GET /jwks HTTP/1.1"] * 2
    assert not any(b"cookie" in request.lower() for request in asked)
    assert all(b"accept-encoding: identity" in request.lower() for request in asked)


async def test_the_environment_names_no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with answering(http(DOCUMENT)) as (url, _):
        assert await JwksAddress(url).fetch() == DOCUMENT


async def test_the_settings_may_name_a_proxy():
    async with answering(http(DOCUMENT)) as (url, asked):
        proxy = url.removesuffix("/jwks")
        assert await JwksAddress("http://127.0.0.1:9/jwks", proxy=proxy).fetch() == DOCUMENT
    assert asked[0].startswith(b"GET http://127.0.0.1:9/jwks HTTP/1.1\r\n")


HUGE = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65_536
ODD_ANSWERS = {
    "redirect": http(status="302 Found", headers=["location: http://127.0.0.1:9/"]),
    "permanent redirect": http(status="308 Permanent Redirect", headers=["location: /other"]),
    "not found": http(status="404 Not Found"),
    "no content": http(status="204 No Content"),
    "compressed": http(DOCUMENT, headers=["content-encoding: gzip"]),
    "too long": http(b" " * (MAX_BYTES + 1)),
    "too long in chunks": [HUGE, *[b"\r\n10000\r\n" + b" " * 65_536] * 5],
    "cut short": http(DOCUMENT)[:-1],
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
async def test_an_odd_answer_is_no_document(name):
    async with answering(ODD_ANSWERS[name]) as (url, asked):
        with pytest.raises(TokenKeyError):
            await JwksAddress(url).fetch()
        assert len(asked) == 1


@pytest.mark.parametrize("pause_s", [[60.0], [0.05] * 1000], ids=["silent", "trickling"])
async def test_an_answer_that_does_not_end_is_not_waited_for(monkeypatch, pause_s):
    monkeypatch.setattr(jwks_module, "FETCH_LIMIT_S", 0.2)
    trickle = [part for pause in pause_s for part in (b" ", pause)]
    answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n", *trickle]
    async with answering(answer) as (url, _):
        with pytest.raises(TokenKeyError, match="cannot be reached"):
            await JwksAddress(url).fetch()


async def test_nobody_at_the_address_is_told(tmp_path):
    with pytest.raises(TokenKeyError, match="cannot be reached"):
        await JwksAddress("http://127.0.0.1:9/jwks").fetch()
    with pytest.raises(TokenKeyError, match="cannot be reached"):
        await JwksAddress("https://127.0.0.1:9/jwks", ca_file=tmp_path / "no").fetch()


async def test_a_document_of_the_longest_length_is_read():
    body = DOCUMENT + b" " * (MAX_BYTES - len(DOCUMENT))
    async with answering(http(body)) as (url, _):
        assert await JwksAddress(url).fetch() == body
