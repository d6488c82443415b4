"""Deepgram's SDK for Python: live, with a file, and for a temporary token."""

import asyncio
import base64
import json
import sys
import threading
import time

from deepgram import AsyncDeepgramClient, DeepgramClient, DeepgramClientEnvironment
from deepgram.core.api_error import ApiError
from deepgram.core.events import EventType
from websockets.exceptions import InvalidStatus  # this SDK lets the newer websockets' own pass

FRAME_BYTES = 640


def tell(**line):
    print(json.dumps(line), flush=True)


def client_of(given, key, kind=DeepgramClient):
    http_url = given["url"]
    ws_url = http_url.replace("http", "ws", 1)
    environment = DeepgramClientEnvironment(
        base=http_url, production=ws_url, agent=ws_url, agent_rest=http_url
    )
    return kind(api_key=key, environment=environment)


def live(given, client):
    pcm = base64.b64decode(given["audio"])
    with client.listen.v1.connect(**given["options"]) as connection:
        connection.on(EventType.MESSAGE, lambda message: tell(**message.dict()))
        connection.on(EventType.ERROR, lambda error: tell(type="failed", error=str(error)))
        connection.on(EventType.CLOSE, lambda _: tell(type="closed"))
        listening = threading.Thread(target=connection.start_listening)
        listening.start()
        try:
            frame_bytes = given.get("frame_bytes", FRAME_BYTES)
            for start in range(0, len(pcm), frame_bytes):
                connection.send_media(pcm[start : start + frame_bytes])
                time.sleep(given["frame_s"])
            if given.get("finalizes"):
                connection.send_finalize()
                time.sleep(given["finalizes"])
            connection.send_close_stream()
        except Exception as error:  # noqa: BLE001 (it is told)
            tell(type="cut", error=type(error).__name__)
        listening.join()


async def live_async(given, client):
    pcm = base64.b64decode(given["audio"])
    async with client.listen.v1.connect(**given["options"]) as connection:
        connection.on(EventType.MESSAGE, lambda message: tell(**message.dict()))
        connection.on(EventType.CLOSE, lambda _: tell(type="closed"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.start_listening())
            for start in range(0, len(pcm), FRAME_BYTES):
                await connection.send_media(pcm[start : start + FRAME_BYTES])
                await asyncio.sleep(given["frame_s"])
            await connection.send_close_stream()


def main():
    given = json.load(sys.stdin)
    client = client_of(given, given["key"])
    try:
        match given["way"]:
            case "live":
                live(given, client)
            case "async":
                asyncio.run(live_async(given, client_of(given, given["key"], AsyncDeepgramClient)))
            case "file":
                answer = client.listen.v1.media.transcribe_file(
                    request=base64.b64decode(given["audio"]), **given["options"]
                )
                print(answer.json(), flush=True)
            case "granted":
                granted = client.auth.v1.tokens.grant(ttl_seconds=30)
                tell(type="granted", expires_in=granted.expires_in)
                live(given, client_of(given, granted.access_token))
    except ApiError as error:
        tell(type=type(error).__name__, status=error.status_code, body=error.body)
    except InvalidStatus as error:
        tell(type="InvalidStatus", status=error.response.status_code)


main()
