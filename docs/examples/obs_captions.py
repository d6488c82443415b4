"""A microphone in; its newest caption in a text file, which OBS shows as a text source, out."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from client.captions import layout
from client.errors import ClientError
from client.microphone import MicrophoneSource
from client.recorders import find_recorder
from client.stream import connect, stream_source

URL = os.environ.get("EARWITNESS_URL", "ws://127.0.0.1:8765/v1/stream")
WIDTH_CELLS = 60


async def main(captions: Path) -> None:
    microphone = MicrophoneSource(find_recorder().command_for(None))
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, microphone.close)
    async with (
        connect(URL, token=os.environ["EARWITNESS_TOKEN"], sample_rate_hz=16_000) as stream,
        stream_source(stream, microphone) as events,
    ):
        async for _ in events:
            for segment in events.transcript.segments[-1:]:
                for line in layout(segment, WIDTH_CELLS)[-1:]:
                    captions.write_text(line.settled + line.tail)  # noqa: ASYNC240 a line


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except ClientError as error:
        sys.exit(str(error))
