"""Thousands of sockets that waste time in; when the server was rid of them, and how an honest
client fared meanwhile, out.

The server is the real one in a process of its own; so are those who waste its time: half of them
say nothing, half send a header a byte at a time. They come from this machine, whose addresses are
not counted by default, so that it is the deadline that ends them and not the cap. The honest client
opens sessions with a token, one after the other, from before they come until they are gone.

The same way is measured what attackers cost: a hundred at a time of each kind, and how far the
server's memory has grown while they are at it.
"""

import asyncio
import contextlib
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import websockets
from typing_extensions import override

from bench.stream import seal_model, server_process
from server.config import Settings, load_settings

N_EACH = 2000
N_ATTACKERS = 100
_TRICKLE_EVERY_S = 1.0
_GOOD_CLIENT_EVERY_S = 0.02
_LIMIT_S = 30.0
_ATTACK_S = 4.0
_LOOK_EVERY_S = 0.05
DATA_FOLDER = Path("build/bench/door")


class Waster(asyncio.Protocol):
    """One socket that says as little as it can, or nothing."""

    def __init__(self, words: bytes, done: Callable[[float], None]) -> None:
        self._words = iter(words)
        self._done = done
        self._since_s = 0.0
        self._loop = asyncio.get_running_loop()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:
        self._since_s = self._loop.time()
        self._transport = transport
        self._trickle()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._done(self._loop.time() - self._since_s)

    def _trickle(self) -> None:
        byte = next(self._words, None)
        if byte is not None and not self._transport.is_closing():
            self._transport.write(bytes([byte]))
            self._loop.call_later(_TRICKLE_EVERY_S, self._trickle)


async def _waste(port: int, n_each: int) -> list[float]:
    """How long each was suffered, in seconds."""
    suffered_s: list[float] = []
    loop = asyncio.get_running_loop()
    for index in range(2 * n_each):
        words = b"GET / HTTP/1.1\r\nX: xxxxxxxxxxxxxxxxxxxxxxxxxxx" if index % 2 else b""
        await loop.create_connection(
            lambda w=words: Waster(w, suffered_s.append), "127.0.0.1", port
        )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT_S):
            while len(suffered_s) < 2 * n_each:  # noqa: ASYNC110 - asked a few times a second
                await asyncio.sleep(0.1)
    return suffered_s + [float("inf")] * (2 * n_each - len(suffered_s))


def _waste_in_process(port: int, n_each: int) -> list[float]:
    _raise_file_limit()
    return asyncio.run(_waste(port, n_each))


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _handshakes_ms(url: str, token: str, is_over: Callable[[], bool]) -> list[float]:
    times_ms: list[float] = []
    headers = {"Authorization": f"Bearer {token}"}
    while not is_over():
        began_s = time.perf_counter()
        async with websockets.connect(url, additional_headers=headers, proxy=None):
            times_ms.append((time.perf_counter() - began_s) * 1000)
        await asyncio.sleep(_GOOD_CLIENT_EVERY_S)
    return times_ms


def slowloris(n_each: int = N_EACH) -> dict[str, float]:
    """`slowloris_closed_s_max` and `good_client_ms_p99`, with what they stand on."""
    settings = bench_settings()
    _raise_file_limit()
    spawning = multiprocessing.get_context("spawn")
    with server_process(settings) as (url, _pid), spawning.Pool(1) as pool:
        port = int(url.split(":")[2].split("/")[0])
        token = bench_token(settings)
        alone_s = time.monotonic() + 3.0
        alone_ms = asyncio.run(_handshakes_ms(url, token, lambda: time.monotonic() > alone_s))
        wasting = pool.apply_async(_waste_in_process, (port, n_each))
        times_ms = asyncio.run(_handshakes_ms(url, token, wasting.ready))
        suffered_s = wasting.get()
    return {
        "sockets": 2 * n_each,
        "slowloris_closed_s_max": round(max(suffered_s), 2),
        "slowloris_closed_s_min": round(min(suffered_s), 2),
        "good_client_handshakes": len(times_ms),
        "good_client_ms_p50": round(float(np.percentile(times_ms, 50)), 1),
        "good_client_ms_p99": round(float(np.percentile(times_ms, 99)), 1),
        "good_client_ms_max": round(max(times_ms), 1),
        "good_client_alone_ms_p99": round(float(np.percentile(alone_ms, 99)), 1),
    }


def _frame(first: int, payload: bytes, claimed: int | None = None) -> bytes:
    """As a client sends it, masked with nothing."""
    length = len(payload) if claimed is None else claimed
    return bytes([first, 0xFF]) + length.to_bytes(8, "big") + bytes(4) + payload


def _attacks(token: str) -> dict[str, tuple[bytes, list[bytes], bool]]:
    """What is said first, what is said again and again, and whether what is answered is read."""
    lines = (
        *("GET /v1/stream HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        *(f"Authorization: Bearer {token}", "", ""),
    )
    opening = "\r\n".join(lines).encode()
    start = _frame(0x81, b'{"type":"start","sample_rate_hz":16000}')
    head = b"GET / HTTP/1.1\r\nHost: x\r\n"
    upload = b"POST /v1/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    return {
        "headers": (head, [b"X: " + b"x" * 4000 + b"\r\n"], True),
        "body": (upload, [bytes(65_536)], True),
        "terabyte": (opening + start, [_frame(0x82, bytes(1000), 1 << 40)], True),
        "fragments": (opening + start + _frame(0x02, b"x"), [_frame(0x00, bytes(4000))], True),
        "empty_fragments": (opening + start + _frame(0x02, b"x"), [_frame(0x00, b"") * 100], True),
        "tiny_messages": (opening, [_frame(0x82, b"xx") * 1000], True),
        "audio_at_once": (opening + start, [_frame(0x82, bytes(64_000))], True),
        "pings_unread": (opening + start, [_frame(0x89, bytes(100)) * 100], False),
    }


async def _attack(port: int, first: bytes, more: list[bytes], *, is_reading: bool) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ATTACK_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(first)
                while True:
                    for words in more:
                        writer.write(words)
                        await writer.drain()
                    if is_reading and reader.at_eof():
                        return
                    await asyncio.sleep(0.001)
            finally:
                writer.transport.abort()


async def _attack_together(
    port: int, attack: tuple[bytes, list[bytes], bool], held_mib: Callable[[], float]
) -> float:
    """The most that was held meanwhile."""
    first, more, is_reading = attack
    most_mib = 0.0
    async with asyncio.TaskGroup() as tasks:
        attackers = [
            tasks.create_task(_attack(port, first, more, is_reading=is_reading))
            for _ in range(N_ATTACKERS)
        ]
        while not all(task.done() for task in attackers):
            most_mib = max(most_mib, held_mib())
            await asyncio.sleep(_LOOK_EVERY_S)
    return most_mib


def memory_under_attack(names: Iterable[str] = ()) -> dict[str, float]:
    """`attackers_mib_NAME` for each kind: how much more memory the server came to hold."""
    settings, figures = bench_settings(), {}
    chosen = list(names) or list(_attacks(""))
    for name in chosen:
        with server_process(settings) as (url, pid):
            port = int(url.split(":")[2].split("/")[0])
            attack = _attacks(bench_token(settings))[name]
            asyncio.run(_one_good_session(url, bench_token(settings)))
            before_mib = _held_mib(pid)
            most_mib = asyncio.run(_attack_together(port, attack, lambda: _held_mib(pid)))
            figures[f"attackers_mib_{name}"] = round(most_mib - before_mib, 1)
    return figures


async def _one_good_session(url: str, token: str) -> None:
    """What is made once is made before it is measured."""
    headers = {"Authorization": f"Bearer {token}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None) as websocket:
        await websocket.send('{"type":"start","sample_rate_hz":16000}')
        await websocket.recv()
        await websocket.send(bytes(64_000))


def _held_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def bench_settings() -> Settings:
    """Of a data folder of the bench's own, with the embedded model."""
    settings = load_settings(data_folder=DATA_FOLDER)
    seal_model(settings)
    return settings


def bench_token(settings: Settings, *options: str) -> str:
    """As an administrator makes one."""
    minting = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "run.py", "token", "mint", "--subject", "bench", *options],
        check=True,
        capture_output=True,
        text=True,
        env={"EARWITNESS_DATA_FOLDER": str(settings.data_folder)},
    )
    return minting.stdout.strip()


if __name__ == "__main__":
    print(json.dumps(memory_under_attack(sys.argv[2:]) if "memory" in sys.argv else slowloris()))
