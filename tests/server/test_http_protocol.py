"""Bytes of impatient, slow and hostile peers in, answers and ends out."""

import asyncio

import pytest

from server.small_reads import READ_BYTES
from tests.server.listening import UPGRADE, listening, trickle

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT_S = 0.3


def post(path: bytes, n_bytes: int, *lines: bytes) -> bytes:
    head = [b"POST /" + path + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % n_bytes, *lines]
    return b"\r\n".join([*head, b"", b""])


async def test_a_connection_is_kept_for_the_next_request_and_not_for_ever():
    async with listening(head_limit_s=SHORT_S) as here:
        peer = await here.peer()
        for _ in range(3):
            await peer.say(HELLO)
            assert (await peer.answer())[::2] == (200, b"hello")
            await asyncio.sleep(SHORT_S / 2)
        assert await peer.rest() == b""


async def test_the_second_request_has_no_more_time_than_the_first():
    async with listening(head_limit_s=SHORT_S) as here:
        peer = await (await here.peer()).say(HELLO)
        await peer.answer()
        await peer.say(HELLO[:20])
        assert (await peer.rest()).startswith(b"HTTP/1.1 408 ")


async def test_requests_may_come_before_the_answer_to_the_one_before():
    async with listening(head_limit_s=SHORT_S) as here:
        peer = await (await here.peer()).say(HELLO * 3 + HELLO[:20])
        for _ in range(3):
            assert (await peer.answer())[0] == 200
        assert (await peer.rest()).startswith(b"HTTP/1.1 408 ")


async def test_the_application_may_take_longer_than_a_peer():
    async with listening(head_limit_s=SHORT_S, upload_check_s=SHORT_S) as here:
        peer = await (await here.peer()).say(post(b"held", 3) + b"abc")
        await asyncio.sleep(3 * SHORT_S)
        here.site.may_go_on.set()
        assert (await peer.answer())[::2] == (200, b"at last")


async def test_an_upload_that_keeps_its_pace_is_taken():
    pace = {"upload_check_s": 0.1, "least_bytes_per_s": 1000, "head_limit_s": SHORT_S}
    async with listening(**pace) as here:
        peer = await (await here.peer()).say(post(b"body", 30_000))
        for _ in range(30):
            await peer.say(bytes(1000))
            await asyncio.sleep(0.02)
        assert (await peer.answer())[::2] == (200, b"30000")


async def test_an_upload_that_trickles_is_ended_and_the_application_told():
    async with listening(upload_check_s=SHORT_S) as here:
        peer = await (await here.peer()).say(post(b"body", 30_000))
        async with asyncio.TaskGroup() as tasks:
            trickling = tasks.create_task(trickle(peer, bytes(10_000)))
            assert (await peer.rest())[:13] in {b"HTTP/1.1 408 ", b""}
            trickling.cancel()
        assert here.site.bodies == [None]


async def test_an_upload_that_stops_is_408():
    async with listening(upload_check_s=SHORT_S) as here:
        answer = await here.ask(post(b"body", 30_000) + bytes(10))
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_upload_that_takes_too_long_is_ended_at_any_pace():
    limits = {"upload_check_s": 0.1, "upload_limit_s": SHORT_S, "least_bytes_per_s": 0}
    async with listening(**limits) as here:
        answer = await here.ask(post(b"body", 30_000) + bytes(10))
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_peer_is_not_late_while_it_is_we_who_do_not_read():
    async with listening(upload_check_s=0.1) as here:
        peer = await (await here.peer()).say(post(b"held", 200_000) + bytes(100_000))
        await asyncio.sleep(SHORT_S)
        here.site.may_go_on.set()
        assert (await peer.answer())[0] == 200


async def test_a_peer_that_waits_for_our_word_to_go_on_is_not_late():
    async with listening(upload_check_s=0.1) as here:
        peer = await (await here.peer()).say(post(b"held", 10, b"Expect: 100-continue"))
        await asyncio.sleep(SHORT_S)
        here.site.may_go_on.set()
        assert (await peer.answer())[0] == 200


async def test_what_is_left_of_an_upload_after_its_answer_has_the_time_of_a_head():
    async with listening(head_limit_s=SHORT_S) as here:
        here.site.may_go_on.set()
        peer = await (await here.peer()).say(post(b"held", 1000) + bytes(10))
        assert (await peer.answer())[0] == 200
        await peer.say(bytes(10))
        assert await peer.rest() == b""


async def test_after_the_rest_of_such_an_upload_the_next_request_is_heard():
    async with listening() as here:
        here.site.may_go_on.set()
        peer = await (await here.peer()).say(post(b"held", 1000) + bytes(10))
        await peer.answer()
        await peer.say(bytes(990) + HELLO)
        assert (await peer.answer())[::2] == (200, b"hello")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"X: " + b"x" * 20_000, id="one long line"),
        pytest.param(b"\r\n".join(b"X%d: %s" % (n, b"x" * 400) for n in range(60)), id="long"),
        pytest.param(b"\r\n".join([b"a:"] * 150), id="many"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
async def test_a_head_too_long_or_with_too_many_headers_is_431(lines, end):
    async with listening(head_limit_s=SHORT_S) as here:
        answer = await here.ask(b"GET /hello HTTP/1.1\r\nHost: x\r\n" + lines + end)
        is_cut_short = not end and len(lines) < READ_BYTES
        assert answer.startswith(b"HTTP/1.1 408 " if is_cut_short else b"HTTP/1.1 431 ")
        assert here.site.clients == []


async def test_a_head_of_the_longest_kind_is_answered():
    async with listening() as here:
        peer = await here.peer()
        await peer.say(HELLO[:-2] + b"X: " + b"x" * 16_000 + b"\r\n\r\n")
        assert (await peer.answer())[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET /hello HTTP/1.1\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_refused_with_headers_that_let_nobody_guess(request_, capfd):
    async with listening() as here:
        answer = await here.ask(request_)
    assert answer.split(b" ")[1] == b"400"
    assert b"\r\nx-content-type-options: nosniff\r\n" in answer
    assert b"\r\ncache-control: no-store\r\n" in answer
    assert "".join(capfd.readouterr()) == ""


async def test_garbage_in_the_middle_of_an_answer_ends_it_without_a_word_in_the_log(capfd):
    async with listening() as here:
        peer = await here.peer(read_bytes=4096)
        await peer.say(
            b"GET /large HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
        )
        await peer.hear(b"\r\n\r\n")
        await peer.say(b"zz\r\n")
        assert b"400" not in (await peer.rest())[:1000]
    assert "".join(capfd.readouterr()) == ""


async def test_an_answer_that_is_not_read_is_given_up():
    async with listening(unread_limit_s=SHORT_S) as here:
        await (await here.peer(read_bytes=4096)).say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await here.until(lambda: here.listener.crowd.total == 1)
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_an_answer_that_is_read_slowly_comes_to_its_end():
    pace = {"unread_limit_s": 1.0, "head_limit_s": SHORT_S, "least_bytes_per_s": 100}
    async with listening(**pace) as here:
        peer = await here.peer(read_bytes=65_536)
        await peer.say(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.hear(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for _ in range(10):
            await asyncio.sleep(SHORT_S)
            await peer.reader.readexactly(500_000)
        assert len(await peer.rest()) == 5_000_000


async def test_a_websocket_has_no_deadline_of_the_door():
    async with listening(head_limit_s=SHORT_S) as here:
        peer = await (await here.peer()).say(HELLO)
        await peer.answer()
        await peer.say(UPGRADE)
        await peer.hear(b"\r\n\r\n")
        await asyncio.sleep(2 * SHORT_S)
        await peer.say(b"\x81\x82\0\0\0\0hi")
        assert await peer.hear(b"hi") == b"\x81\x02hi"


async def test_an_upgrade_to_something_else_is_an_ordinary_request():
    async with listening() as here:
        peer = await here.peer()
        await peer.say(HELLO[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await peer.answer())[0] == 200


async def test_what_comes_after_the_end_is_not_looked_at():
    async with listening() as here:
        peer = await (await here.peer()).say(HELLO)
        await peer.answer()
        [protocol] = here.listener.server_state.connections
        protocol.transport.close()
        protocol.data_received(HELLO)
        assert here.site.clients == ["127.0.0.1"]
