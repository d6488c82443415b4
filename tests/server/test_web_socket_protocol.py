"""Frames of honest and hostile peers in, messages to the application and close codes out."""

import asyncio
import struct
from contextlib import suppress

import pytest

from server import errors
from server.small_reads import READ_BYTES
from server.web_socket_protocol import MOST_FRAGMENTS, MOST_PINGS
from tests.server.listening import LONG_BYTES, UPGRADE, listening, trickle

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def frame(first: int, payload: bytes = b"", claimed: int | None = None) -> bytes:
    """As a client sends it, masked with nothing."""
    length = len(payload) if claimed is None else claimed
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, 0xFE, length)
    else:
        head = struct.pack("!BBQ", first, 0xFF, length)
    return head + bytes(4) + payload


def closed_with(heard: bytes) -> int:
    """The code of the close frame that is the last thing said."""
    place = heard.rindex(b"\x88")
    return struct.unpack_from("!H", heard, place + 2)[0]


async def open_socket(here, path=b"echo", **given):
    peer = await (await here.peer(**given)).say(UPGRADE.replace(b"echo", path))
    assert (await peer.hear(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return peer


async def test_messages_go_to_the_application_and_back():
    async with listening() as here:
        peer = await open_socket(here)
        await peer.say(frame(TEXT, b"hi") + frame(BINARY, bytes(200)))
        assert await peer.hear(b"hi") == b"\x81\x02hi"
        await peer.say(frame(CLOSE, b"\x03\xe8"))
        assert closed_with(await peer.rest()) == 1000
        assert here.site.messages == ["hi", bytes(200), 1000]
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_a_close_between_fragments_is_a_close_like_any_other():
    """Autobahn's case 7.1.5."""
    async with listening() as here:
        peer = await open_socket(here)
        await peer.say(frame(0x01, b"fragment") + frame(CLOSE, b"\x03\xe8") + frame(0x80, b"rest"))
        assert closed_with(await peer.rest()) == 1000
        assert here.site.messages == [1000]


async def test_between_two_messages_of_a_flood_others_have_their_turn():
    async with listening() as here:
        peer = await open_socket(here, b"deaf")
        at_once = []

        async def look():
            while True:
                before = len(here.site.messages)
                await asyncio.sleep(0)
                at_once.append(len(here.site.messages) - before)

        looking = asyncio.create_task(look())  # noqa: TID251 (ended below)
        here.site.may_go_on.set()
        await peer.say(frame(BINARY) * 5_000)
        await here.until(lambda: len(here.site.messages) == 5_000)
        looking.cancel()
        assert max(at_once) <= 2


async def test_a_ping_between_fragments_is_answered():
    async with listening() as here:
        peer = await open_socket(here)
        await peer.say(frame(0x01, b"o") + frame(PING, b"?") + frame(0x80, b"k"))
        assert await peer.hear(b"ok") == b"\x8a\x01?\x81\x02ok"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(frame(BINARY, b"", claimed=1 << 40), 1009, id="a terabyte, says its head"),
        pytest.param(frame(BINARY, bytes(70_000)), 1009, id="a message too long"),
        pytest.param(
            frame(0x02, bytes(40_000)) + frame(0x80, bytes(40_000)), 1009, id="too long in sum"
        ),
        pytest.param(
            frame(0x02) + frame(0x00) * MOST_FRAGMENTS * 3, 1009, id="fragments of nothing"
        ),
        pytest.param(frame(PING) * (MOST_PINGS * 2), 1008, id="pings"),
        pytest.param(frame(PONG) * (MOST_PINGS * 2), 1008, id="pongs"),
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="no UTF-8"),
        pytest.param(frame(0x83), 1002, id="no frame"),
        pytest.param(frame(0xC1, b"x"), 1002, id="compressed"),
        pytest.param(frame(0x80, b"x"), 1002, id="the rest of nothing"),
    ],
)
async def test_what_is_too_much_or_no_websocket_is_closed_with_its_code(frames, code, capfd):
    async with listening(most_frame_bytes=65_536) as here:
        peer = await open_socket(here)
        with suppress(ConnectionError):
            await peer.say(frames)
        assert closed_with(await peer.rest()) == code
        await here.until(lambda: here.site.messages[-1:] == [code])
    assert "".join(capfd.readouterr()) == ""


async def test_who_was_let_in_may_send_longer_messages_where_the_application_says_so():
    audio = bytes(range(250)) * 4_000
    async with listening(most_frame_bytes=65_536) as here:
        peer = await open_socket(here, b"long")
        await peer.say(frame(BINARY, audio) + frame(0x02, audio[:600_000]))
        await peer.say(frame(0x80, audio[600_000:]) + frame(CLOSE, b"\x03\xe8"))
        assert closed_with(await peer.rest()) == 1000
        assert here.site.messages == [audio, audio, 1000]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(frame(BINARY, bytes(LONG_BYTES + 1)), id="at once"),
        pytest.param(frame(BINARY, b"", claimed=1 << 40), id="a terabyte, says its head"),
        pytest.param(frame(0x02, bytes(600_000)) + frame(0x80, bytes(600_000)), id="in sum"),
        pytest.param(frame(0x02) + frame(0x00) * MOST_FRAGMENTS * 3, id="fragments of nothing"),
    ],
)
async def test_a_message_that_is_too_long_even_so_is_the_applications_to_answer(frames, capfd):
    async with listening(most_frame_bytes=65_536) as here:
        peer = await open_socket(here, b"long")
        here.site.may_go_on.set()
        await peer.say(frame(BINARY, b"heard") + frames)
        await peer.say(frame(BINARY, b"not heard") + frame(PING) * (MOST_PINGS * 2))
        heard = await peer.rest()
        assert heard.startswith(b"\x81\x08too long")
        assert closed_with(heard) == 4000
        await here.until(lambda: here.listener.crowd.total == 0)
        assert here.site.messages == [b"heard", errors.MESSAGE_TOO_BIG, 4000]
    assert "".join(capfd.readouterr()) == ""


async def is_not_read(peer):
    """Whether what it goes on sending has nowhere to go."""
    sending = asyncio.timeout(0.5)
    with suppress(TimeoutError):
        async with sending:
            while True:
                await peer.say(bytes(100_000))
    return sending.expired()


async def test_until_that_is_answered_the_rest_waits_and_then_may_be_finished():
    async with listening() as here:
        peer = await open_socket(here, b"long")
        await peer.say(frame(BINARY, b"", claimed=1 << 40))
        await here.until(lambda: here.site.messages)
        assert await is_not_read(peer)
        here.site.may_go_on.set()
        assert closed_with(await peer.rest()) == 4000


async def test_nobody_may_send_anything_long_before_being_let_in():
    async with listening() as here:
        peer = await (await here.peer()).say(UPGRADE.replace(b"echo", b"late"))
        await here.until(lambda: here.listener.server_state.tasks)
        [protocol] = here.listener.server_state.connections
        assert await is_not_read(peer)
        assert len(protocol._unseen) <= READ_BYTES


async def test_some_pings_at_once_are_answered():
    async with listening() as here:
        peer = await open_socket(here)
        await peer.say(frame(PING, b"?") * 40 + frame(TEXT, b"hi"))
        assert (await peer.hear(b"hi")).count(b"?") == 40


async def test_a_peer_that_reads_no_pongs_is_cut_off():
    async with listening() as here:
        peer = await open_socket(here)
        [protocol] = here.listener.server_state.connections
        protocol.transport.write(bytes(50_000_000))
        await peer.say(frame(PING))
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_no_compression_is_agreed_to():
    async with listening() as here:
        asked = UPGRADE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        peer = await (await here.peer()).say(asked)
        assert b"extensions" not in (await peer.hear(b"\r\n\r\n")).lower()


async def test_messages_wait_in_the_kernel_until_the_application_takes_them():
    async with listening() as here:
        peer = await open_socket(here, b"deaf")
        [protocol] = here.listener.server_state.connections
        sending = asyncio.timeout(0.5)
        with suppress(TimeoutError):
            async with sending:
                while True:
                    await peer.say(frame(TEXT, b"x") * 10_000)
        assert sending.expired()
        assert protocol.queue.qsize() < 200
        here.site.may_go_on.set()
        await here.until(lambda: len(here.site.messages) > 1000)


async def test_nothing_is_looked_at_before_the_handshake_is_answered(capfd):
    async with listening() as here:
        peer = await (await here.peer()).say(UPGRADE.replace(b"echo", b"late"))
        await here.until(lambda: here.listener.server_state.tasks)
        await peer.say(frame(PING, b"?") + frame(0x83))  # which nobody could close yet
        await asyncio.sleep(0.1)
        here.site.may_go_on.set()
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert closed_with(answer) == 1002
    assert "".join(capfd.readouterr()) == ""


async def test_a_fault_before_anything_could_be_closed_is_the_end(capfd):
    async with listening() as here:
        peer = await (await here.peer()).say(UPGRADE.replace(b"echo", b"late"))
        await here.until(lambda: here.listener.server_state.tasks)
        [protocol] = here.listener.server_state.connections
        protocol.handle_parser_exception()
        assert await peer.rest() == b""
    assert "".join(capfd.readouterr()) == ""


async def test_a_peer_that_does_not_answer_a_close_is_dropped():
    async with listening(close_limit_s=0.2) as here:
        peer = await open_socket(here, b"bye")
        assert closed_with(await peer.rest()) == 4000
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_a_peer_that_does_not_read_what_was_left_for_it_is_cut_off_in_the_end():
    async with listening(unread_limit_s=0.3, close_limit_s=0.1) as here:
        await open_socket(here, b"bye", read_bytes=4096)
        [protocol] = here.listener.server_state.connections
        protocol.transport.write(bytes(50_000_000))
        await here.until(lambda: here.listener.crowd.total == 0)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Version: 13", b"Version: <b>12</b>", b"400"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"<script>", b"400"),
        (b"GET", b"POST", b"405"),
    ],
)
async def test_no_word_of_a_handshake_that_is_none_is_repeated(old, new, status, capfd):
    async with listening() as here:
        answer = await here.ask(UPGRADE.replace(old, new))
    assert answer.split(b" ")[1] == status
    assert b"nosniff" in answer
    assert b"no-store" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert new not in answer.split(b"\r\n", 1)[1]
    assert "".join(capfd.readouterr()) == ""


async def test_a_handshake_with_a_character_that_no_header_holds_is_answered():
    async with listening() as here:
        answer = await here.ask(UPGRADE[:-2] + b"X: \x01\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("size", [13, 1023, 1024, 1025, 5000])
async def test_where_the_bytes_are_split_makes_no_difference(size):
    said = b"".join(frame(BINARY, bytes([n]) * n * 37) for n in range(1, 100))
    async with listening() as here:
        peer = await open_socket(here)
        for start in range(0, len(said), size):
            await peer.say(said[start : start + size])
        await here.until(lambda: len(here.site.messages) == 99)
        assert here.site.messages == [bytes([n]) * n * 37 for n in range(1, 100)]


async def test_who_is_closed_in_the_middle_of_a_message_may_finish_it_and_reads_why():
    """Bytes that nobody took would reset the connection, and the close might be lost."""
    async with listening() as here:
        peer = await open_socket(here)
        await peer.say(frame(BINARY, b"", claimed=1 << 40))
        heard = await peer.hear(struct.pack("!H", 1009))
        for _ in range(100):
            await peer.say(bytes(100_000))
        assert closed_with(heard + await peer.rest()) == 1009
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_who_does_not_finish_after_a_close_is_cut_off():
    async with listening() as here:
        peer = await open_socket(here)
        await peer.say(frame(BINARY, b"", claimed=1 << 40))
        with pytest.raises(ConnectionError):
            await peer.say(bytes(30_000_000))
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_who_sends_a_little_for_ever_after_a_close_is_closed():
    async with listening(close_limit_s=0.2) as here:
        peer = await open_socket(here)
        await peer.say(frame(BINARY, b"", claimed=1 << 40))
        await trickle(peer, bytes(2_000))
        await here.until(lambda: here.listener.crowd.total == 0)
