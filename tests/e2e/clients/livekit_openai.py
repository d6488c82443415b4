"""LiveKit's plugin for OpenAI hears a recording: a line for each event of its speech stream, or for
the error that ends it. A program of its own: it knows nothing of ours.
"""

import asyncio
import base64
import json
import sys

from aiohttp import WSServerHandshakeError
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, utils
from livekit.plugins import openai

RATE_HZ = 24_000
FRAME_SAMPLES = 1_200
PATIENCE = APIConnectOptions(max_retry=3, retry_interval=0.1, timeout=10.0)


def tell(**what):
    print(json.dumps(what), flush=True)


async def push(stream, pcm):
    for start in range(0, len(pcm), 2 * FRAME_SAMPLES):
        data = pcm[start : start + 2 * FRAME_SAMPLES]
        stream.push_frame(rtc.AudioFrame(data, RATE_HZ, 1, len(data) // 2))
        await asyncio.sleep(FRAME_SAMPLES / RATE_HZ)


async def hear(given):
    plugin = openai.STT(
        base_url=given["url"], api_key=given["key"], use_realtime=True, **given["options"]
    )
    plugin.on("error", lambda error: tell(tried=type(error.error).__name__))
    stream = plugin.stream(conn_options=PATIENCE)
    try:
        async with asyncio.TaskGroup() as tasks:
            pushing = tasks.create_task(push(stream, base64.b64decode(given["pcm"])))
            async for event in stream:
                text = event.alternatives[0].text if event.alternatives else ""
                tell(event=event.type.value, text=text)
                if event.type.value == given["until"]:
                    break
            pushing.cancel()
    except* APIError as group:
        error = group.exceptions[0]
        tell(error=type(error).__name__, body=error.body, retries=error.retryable)
    except* WSServerHandshakeError as group:
        tell(error="WSServerHandshakeError", status=group.exceptions[0].status)
    await stream.aclose()
    await plugin.aclose()


async def recognize(given):
    """Its other way: a whole file."""
    plugin = openai.STT(base_url=given["url"], api_key=given["key"], **given["options"])
    pcm = base64.b64decode(given["pcm"])
    frame = rtc.AudioFrame(pcm, RATE_HZ, 1, len(pcm) // 2)
    event = await plugin.recognize(frame, conn_options=PATIENCE)
    tell(event=event.type.value, text=event.alternatives[0].text)
    await plugin.aclose()


async def main():
    given = json.load(sys.stdin)
    async with utils.http_context.open():
        await (hear if given["is_live"] else recognize)(given)


asyncio.run(main())
