"""The proxy that cuts, before a server that says back what it hears."""

import asyncio
from contextlib import asynccontextmanager, suppress
from itertools import count

from tests.e2e.chaos_proxy import HANDSHAKE_BYTES, Break, Fate, chaos_proxy, random_fates

PIECE = bytes(range(256)) * 4
N_PIECES = 40


@asynccontextmanager
async def echo_server():
    open_now = set()

    async def echo(reader, writer):
        open_now.add(writer)
        with suppress(ConnectionError):
            while piece := await reader.read(4096):
                writer.write(piece)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        open_now.discard(writer)

    async with asyncio.TaskGroup() as group:
        server = await asyncio.start_server(
            lambda *ends: group.create_task(echo(*ends)), "127.0.0.1", 0
        )
        async with server:
            yield server.sockets[0].getsockname()[1], open_now


async def say_much(port):
    """What came back, and how it ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard, end = b"", "finish"
    try:
        for _ in range(N_PIECES):
            writer.write(PIECE)
            await writer.drain()
        writer.write_eof()
        while piece := await reader.read(4096):
            heard += piece
    except ConnectionError:
        end = "reset"
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return heard, end


def chaos(port, most_breaks=30, seed=8):
    draw, n_drawn = random_fates(seed, up_bytes=30_000, down_bytes=20_000), count()
    return chaos_proxy(port, lambda: draw() if next(n_drawn) < most_breaks else None)


async def test_connections_break_in_every_way_and_then_no_more():
    async with echo_server() as (port, _), chaos(port) as proxy:
        heard = [await say_much(proxy.port) for _ in range(32)]
    whole = PIECE * N_PIECES
    assert proxy.n_broken == 30
    assert {fate.how for fate in proxy.fates} == set(Break)
    assert all(whole.startswith(part) and part != whole for part, _ in heard[:30])
    assert {end for _, end in heard[:30]} == {"finish", "reset"}
    assert heard[30:] == [(whole, "finish")] * 2


async def test_no_more_gets_through_than_was_planned():
    async with echo_server() as (port, _), chaos(port) as proxy:
        heard = [(await say_much(proxy.port))[0] for _ in range(30)]
    limits = [fate.after_bytes for fate in proxy.fates]
    assert all(len(part) <= limit for part, limit in zip(heard, limits, strict=True))
    assert limits[0] >= HANDSHAKE_BYTES // 2
    assert min(limits) < HANDSHAKE_BYTES // 2


async def test_a_break_at_a_mark_comes_where_it_is_said():
    fate = Fate(Break.END, -2, is_upwards=False, mark=b"\x0a\x0b")
    async with echo_server() as (port, _), chaos_proxy(port, lambda: fate) as proxy:
        heard, _ = await say_much(proxy.port)
    assert heard == bytes(range(8))


async def test_half_a_break_leaves_the_server_waiting():
    fate = Fate(Break.HALF, 5000, is_upwards=True)
    async with echo_server() as (port, open_now), chaos_proxy(port, lambda: fate) as proxy:
        await say_much(proxy.port)
        assert open_now


async def plans(seed):
    async with echo_server() as (port, _), chaos(port, 5, seed) as proxy:
        for _ in range(5):
            await say_much(proxy.port)
        return proxy.fates


async def test_the_same_seed_is_the_same_chaos():
    assert await plans(1) == await plans(1)
    assert await plans(1) != await plans(2)
