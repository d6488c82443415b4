"""A recording in; its words as they settle, then every word with its time, out."""

import asyncio
import os
import sys

from client.errors import ClientError
from client.stream import stream_file
from server.wire import Final

URL = os.environ.get("EARWITNESS_URL", "ws://127.0.0.1:8765/v1/stream")


async def main(path: str) -> None:
    async with stream_file(URL, os.environ["EARWITNESS_TOKEN"], path, partials=False) as events:
        async for event in events:
            if isinstance(event, Final):
                print(event.text, flush=True)
    for word in events.transcript.words:
        print(f"{word.start_ms / 1000:8.2f} s  {word.text}  ({word.confidence:.0%})")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except ClientError as error:
        sys.exit(str(error))
