"""LiveKit's plugin for Deepgram: a stream, and a recording at once."""

import asyncio
import base64
import contextlib
import json
import sys

import aiohttp
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.plugins import deepgram

RATE_HZ = 16_000


def tell(**line):
    print(json.dumps(line), flush=True)


def frames_of(pcm):
    step = RATE_HZ // 50 * 2
    for start in range(0, len(pcm), step):
        part = pcm[start : start + step]
        yield rtc.AudioFrame(part, RATE_HZ, 1, len(part) // 2)


def tell_error(error):
    status = getattr(error, "status_code", None)
    tell(type=type(error).__name__, status=status, retryable=error.retryable)


async def listen(stream):
    try:
        async for event in stream:
            said = [
                {"text": each.text, "words": [str(word) for word in each.words or []]}
                for each in event.alternatives
            ]
            tell(type=str(event.type.value), said=said)
    except APIError as error:
        tell_error(error)


async def speak(stream, pcm, frame_s):
    with contextlib.suppress(RuntimeError):  # it has given up
        for frame in frames_of(pcm):
            stream.push_frame(frame)
            await asyncio.sleep(frame_s)
        stream.end_input()


async def main():
    given = json.load(sys.stdin)
    tries = APIConnectOptions(max_retry=given.get("retries", 0), retry_interval=0.1, timeout=10)
    pcm = base64.b64decode(given["audio"])
    async with aiohttp.ClientSession() as session:
        stt = deepgram.STT(
            api_key=given["key"],
            base_url=given["url"] + "/v1/listen",
            http_session=session,
            **given["options"],
        )
        try:
            if given["way"] == "file":
                event = await stt.recognize(list(frames_of(pcm)), conn_options=tries)
                tell(type=str(event.type.value), text=event.alternatives[0].text)
                return
            stream = stt.stream(conn_options=tries)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(speak(stream, pcm, given["frame_s"]))
                await listen(stream)
            await stream.aclose()
        except APIError as error:
            tell_error(error)


asyncio.run(main())
