"""A microphone in; each sentence once it is final out; Ctrl-C ends the audio."""

import asyncio
import os
import signal
import sys

from client.errors import ClientError
from client.microphone import MicrophoneSource
from client.recorders import find_recorder
from client.stream import connect, stream_source
from server.wire import Final

URL = os.environ.get("EARWITNESS_URL", "ws://127.0.0.1:8765/v1/stream")


async def main() -> None:
    microphone = MicrophoneSource(find_recorder().command_for(None))
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, microphone.close)
    async with (
        connect(URL, token=os.environ["EARWITNESS_TOKEN"], sample_rate_hz=16_000) as stream,
        stream_source(stream, microphone) as events,
    ):
        async for event in events:
            if isinstance(event, Final):
                print(event.text, flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ClientError as error:
        sys.exit(str(error))
