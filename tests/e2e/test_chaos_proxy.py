"""The proxy that cuts, before a server that says back what it hears."""

import asyncio
from contextlib import asynccontextmanager, suppress

from tests.e2e.chaos_proxy import Way, chaos_proxy

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


def chaos(port, most_cuts=30, seed=8):
    limits = {"most_up_bytes": 30_000, "most_down_bytes": 20_000}
    return chaos_proxy(port, seed=seed, most_cuts=most_cuts, **limits)


async def test_connections_are_cut_in_every_way_and_then_no_more():
    async with echo_server() as (port, _), chaos(port) as proxy:
        heard = [await say_much(proxy.port) for _ in range(32)]
    whole = PIECE * N_PIECES
    assert len(proxy.cuts) == 30
    assert {cut.way for cut in proxy.cuts} == set(Way)
    assert all(whole.startswith(part) and part != whole for part, _ in heard[:30])
    assert {end for _, end in heard[:30]} == {"finish", "reset"}
    assert heard[30:] == [(whole, "finish")] * 2


async def test_no_more_gets_through_than_was_planned():
    async with echo_server() as (port, _), chaos(port) as proxy:
        heard = [(await say_much(proxy.port))[0] for _ in range(30)]
    assert all(
        len(part) <= min(cut.up_bytes, cut.down_bytes)
        for part, cut in zip(heard, proxy.cuts, strict=True)
    )


async def test_a_hidden_cut_leaves_the_server_waiting():
    async with echo_server() as (port, open_now), chaos(port) as proxy:
        while not any(cut.way is Way.HIDE for cut in proxy.cuts):
            await say_much(proxy.port)
        assert open_now
    assert not open_now  # the proxy lets go of them in the end


async def plans(seed):
    async with echo_server() as (port, _), chaos(port, 5, seed) as proxy:
        for _ in range(5):
            await say_much(proxy.port)
        return proxy.cuts


async def test_the_same_seed_is_the_same_chaos():
    assert await plans(1) == await plans(1)
    assert await plans(1) != await plans(2)
