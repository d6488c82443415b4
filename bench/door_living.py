"""Sessions that live in; how soon a revocation and the end of a token end them, and what it costs
to count a frame, out.

The server is the real one in a process of its own. A revocation is asked for over HTTP, one subject
after the other, and it is timed until that subject's session has its close. A token that ends is
timed from its own `exp` to the close, on the clock of this machine; its leeway is not taken off.
"""

import asyncio
import json
import time
import urllib.request
from contextlib import suppress

import numpy as np
import websockets

from bench.door_sockets import bench_settings, bench_token
from bench.stream import server_process
from security.keys import open_signing_key
from security.limits import Limits
from security.tokens import mint_token
from server.audio import AudioFormat, Encoding
from server.config import Settings
from server.pace import Pace, PaceSettings
from server.quota import Quota

N_REVOKED = 100
N_EXPIRING = 60
_START = '{"type":"start","sample_rate_hz":16000}'
_FRAME = bytes(640)
_N_FRAMES = 200_000
_ROUNDS = 5


def living() -> dict[str, float]:
    """`revoke_ms_p99` and `expiry_overrun_ms_max`."""
    settings = bench_settings()
    with server_process(settings) as (url, _pid):
        admin = bench_token(settings, "--scope", "admin")
        revoke_ms = asyncio.run(_revoke_all(settings, url, admin))
        overrun_ms = asyncio.run(_expire_all(settings, url))
    return {
        "sessions_revoked": len(revoke_ms),
        "revoke_ms_p50": round(float(np.percentile(revoke_ms, 50)), 1),
        "revoke_ms_p99": round(float(np.percentile(revoke_ms, 99)), 1),
        "sessions_expired": len(overrun_ms),
        "expiry_overrun_ms_p50": round(float(np.percentile(overrun_ms, 50)), 1),
        "expiry_overrun_ms_max": round(max(overrun_ms), 1),
    }


def quota_us_per_frame() -> float:
    """All counters of one connection, for a frame of 20 ms; the best of some rounds."""
    limits = Limits(session_bytes=1 << 50, session_audio_s=1 << 30, audio_s_per_day=1 << 30)
    audio_format = AudioFormat(Encoding.PCM_S16LE, 16_000)
    took_s = []
    for _ in range(_ROUNDS):
        quota, pace = Quota(limits, audio_format), Pace(125, PaceSettings())
        quota.take_notice()
        quota.receive_reserved(1, 1 << 40)
        began_s = time.perf_counter()
        for index in range(_N_FRAMES):
            quota.receive_frame(len(_FRAME))
            if quota.has_news:
                quota.take_notice()
                quota.take_wish_ms()
            pace.receive(len(_FRAME), 32_000, index * 0.02)
        took_s.append(time.perf_counter() - began_s)
    return round(min(took_s) / _N_FRAMES * 1e6, 3)


async def _revoke_all(settings: Settings, url: str, admin: str) -> list[float]:
    names = [f"speaker-{index}" for index in range(N_REVOKED)]
    sockets = [await _session(url, _minted(settings, name, 600)) for name in names]
    address = url.replace("ws", "http", 1).removesuffix("/v1/stream") + "/admin/revocations"
    took_ms = []
    for name, socket in zip(names, sockets, strict=True):
        async with asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(_closed(socket))
            began_s = time.perf_counter()
            await asyncio.to_thread(_post, address, admin, {"subject": name})
        took_ms.append((closing.result() - began_s) * 1000)
    return took_ms


async def _expire_all(settings: Settings, url: str) -> list[float]:
    """Tokens that end within the next seconds, in the middle of what is being said."""
    ends_s, sockets = [], []
    for index in range(N_EXPIRING):
        ends_s.append(int(_wall_s()) + 3 + index % 6)
        sockets.append(await _session(url, _minted(settings, f"late-{index}", 3 + index % 6)))
    wall_s = _wall_s() - time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for socket in sockets:
            tasks.create_task(_stream(socket))
        closing = [tasks.create_task(_closed(socket)) for socket in sockets]
    closed_s = [wall_s + task.result() for task in closing]
    return [1000 * (closed - end) for closed, end in zip(closed_s, ends_s, strict=True)]


async def _session(url: str, token: str) -> websockets.ClientConnection:
    headers = {"Authorization": f"Bearer {token}"}
    socket = await websockets.connect(url, additional_headers=headers, proxy=None)
    await socket.send(_START)
    await socket.recv()
    return socket


async def _stream(socket: websockets.ClientConnection) -> None:
    noise = np.random.default_rng(1)
    with suppress(websockets.ConnectionClosed):
        while True:
            await socket.send(noise.normal(0, 3000, 1600).astype("<i2").tobytes())
            await asyncio.sleep(0.1)


async def _closed(socket: websockets.ClientConnection) -> float:
    """When its close came."""
    with suppress(websockets.ConnectionClosed):
        async for _ in socket:
            pass
    return time.perf_counter()


def _minted(settings: Settings, subject: str, lifetime_s: int) -> str:
    key = open_signing_key(settings.signing_key_file)
    return mint_token(
        key,
        settings.token_policy,
        subject=subject,
        scopes={"transcribe"},
        lifetime_s=lifetime_s,
        wall_s=_wall_s(),
    )


def _post(address: str, token: str, body: dict[str, str]) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own server
        address, json.dumps(body).encode(), {"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
        assert answer.status == 200


def _wall_s() -> float:
    return time.time()  # noqa: TID251 - tokens live by it
