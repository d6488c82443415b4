"""Bytes of peers that ask for something, sooner or later or never, in; who is let in out."""

import asyncio
from contextlib import suppress

import pytest

from tests.server.listening import LIMIT_S, listening, trickle

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT_S = 0.3


async def test_a_connection_on_which_nothing_comes_is_closed_without_a_word():
    async with listening(head_limit_s=SHORT_S) as here:
        assert await here.ask(b"") == b""
        await here.until(lambda: here.listener.crowd.total == 0)


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", HELLO[:-1]])
async def test_a_head_that_does_not_come_to_its_end_is_408(start):
    async with listening(head_limit_s=SHORT_S) as here:
        answer = await here.ask(start)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()


async def test_a_head_that_trickles_gets_no_more_time_than_one_that_does_not_come():
    async with listening(head_limit_s=SHORT_S) as here:
        peer = await here.peer()
        async with asyncio.TaskGroup() as tasks:
            trickling = tasks.create_task(trickle(peer, b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000))
            assert (await peer.rest())[:13] in {b"HTTP/1.1 408 ", b""}
            trickling.cancel()


async def test_four_megabytes_of_headers_are_refused_within_two_reads():
    read = []
    async with listening() as here:
        peer = await here.peer()
        await peer.say(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await here.until(lambda: here.listener.server_state.connections)
        [doorstep] = here.listener.server_state.connections
        update = doorstep.buffer_updated
        doorstep.buffer_updated = lambda nbytes: (read.append(nbytes), update(nbytes))
        line = b"X: " + b"x" * 4000 + b"\r\n"
        with suppress(ConnectionError):
            await peer.say(line * 1000)
        assert (await peer.rest())[:13] in {b"HTTP/1.1 431 ", b""}
    assert 0 < sum(read) <= 32_768


@pytest.mark.parametrize("n_bytes", [1, 2, 3, len(HELLO) - 1, len(HELLO)])
@pytest.mark.parametrize("request_", [HELLO, HELLO.replace(b"\r\n", b"\n")])
async def test_a_head_may_come_in_pieces(request_, n_bytes):
    async with listening() as here:
        peer = await here.peer()
        for start in range(0, len(request_), n_bytes):
            await peer.say(request_[start : start + n_bytes])
            await asyncio.sleep(0)
        assert (await peer.answer())[::2] == (200, b"hello")


@pytest.mark.parametrize("start", [b"\x16\x03\x01", b"\r\n", b"\0", b" GET"])
async def test_what_can_become_no_request_is_not_waited_for(start):
    async with listening() as here:
        assert (await here.ask(start + b"\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_nobody_who_waits_holds_up_the_end():
    async with listening(head_limit_s=LIMIT_S * 10) as here:
        peer = await (await here.peer()).say(b"GET")
        await here.until(lambda: here.listener.server_state.connections)
        here.listener.should_exit = True
        assert await peer.rest() == b""


async def test_what_comes_after_the_end_is_not_looked_at():
    async with listening() as here:
        await (await here.peer()).say(b"G")
        await here.until(lambda: here.listener.server_state.connections)
        [doorstep] = here.listener.server_state.connections
        doorstep.shutdown()
        doorstep.data_received(HELLO)
        assert here.site.clients == []


async def test_a_peer_that_goes_before_it_asks_leaves_its_place():
    async with listening() as here:
        peer = await (await here.peer()).say(b"GET")
        await here.until(lambda: here.listener.crowd.total == 1)
        peer.writer.transport.abort()
        await here.until(lambda: here.listener.crowd.total == 0)
        assert not here.listener.server_state.connections
