"""What end-to-end tests of telephone calls share: a server with bridges, a provider that streams a
call into it, and somebody who follows the call."""

import asyncio
import json
from collections.abc import Mapping

import miniaudio
import websockets
from twilio.request_validator import RequestValidator
from websockets.exceptions import ConnectionClosed

from tests.e2e.test_stream import words_of
from tests.fakes import silence
from tests.server.dialects.media_simulator import TimedFrame

AUTH_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of no account)
ADDRESS = "wss://calls.example/v1/bridges/twilio"


def bridges_in(folder) -> list[dict]:
    """A bridge for each provider, and the file of its secret."""
    secret_file = folder / "twilio.secret"
    secret_file.write_text(AUTH_TOKEN + "\n")
    secret_file.chmod(0o600)
    roles = {"inbound": "customer", "outbound": "agent"}
    media = {"dialect": "media_streams", "roles": roles}
    return [
        {"name": "twilio", **media, "secret_file": str(secret_file), "address": ADDRESS},
        {"name": "telnyx", **media, "tracks": ["inbound", "outbound"]},
    ]


def narrow_pcm_of(recording) -> bytes:
    """8 kHz, with silence after it."""
    samples = miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=8_000).samples
    return samples.tobytes() + silence(1000)[: 8_000 * 2]


def signed(address: str = ADDRESS, auth_token: str = AUTH_TOKEN) -> dict[str, str]:
    """Twilio's header, by its own library."""
    return {"x-twilio-signature": RequestValidator(auth_token).compute_signature(address, {})}


def bridge_url(server, name: str) -> str:
    return server.stream_url.replace("/stream", f"/bridges/{name}")


async def stream_in(
    url: str, frames: list[TimedFrame], headers: Mapping[str, str], speed: float = 4.0
) -> int:
    """As a provider sends it; the close code that it gets, or 0 if it hung up itself."""
    async with asyncio.timeout(60):
        websocket = await websockets.connect(
            url, additional_headers=headers, compression=None, proxy=None, max_queue=None
        )
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            for frame in frames:
                await asyncio.sleep(began_s + frame.at_ms / 1000 / speed - loop.time())
                if frame.text is None:
                    websocket.transport.close()
                    return 0
                await websocket.send(frame.text)
            async for _ in websocket:
                raise AssertionError("nothing may be said to it")
        except ConnectionClosed:
            pass
        return websocket.close_code


async def until_last(server, event, is_meant):
    """The row may come a moment after the peer was let go."""
    async with asyncio.timeout(10):
        while True:
            rows = await asyncio.to_thread(server.trail, event=event)
            if rows and is_meant(rows[-1]):
                return
            await asyncio.sleep(0.05)


async def follow(server, call_id: str, **claims) -> list[dict]:
    """All events of a call, as they come."""
    token = server.token(**{"scopes": {"calls"}, **claims})
    url = server.stream_url.replace("/stream", f"/calls/{call_id}/events")
    events = []
    async with (
        asyncio.timeout(60),
        websockets.connect(
            url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None
        ) as websocket,
    ):
        try:
            while True:
                events.append(json.loads(await websocket.recv()))
        except ConnectionClosed:
            pass
    return events


def said_by(events: list[dict], role: str) -> list[str]:
    """The words of the finals of a party."""
    texts = [
        event["text"] for event in events if event["type"] == "final" and event["role"] == role
    ]
    return words_of(" ".join(texts))
