"""A stereo recording of a call in; who said what, in order by time, out."""

import asyncio
import os
import sys
from pathlib import Path

from client.errors import ClientError
from client.hearing import Account, Door, hear, open_recording

URL = os.environ.get("EARWITNESS_URL", "ws://127.0.0.1:8765/v1/stream")


async def main(path: str) -> None:
    door = Door(URL, lambda: os.environ["EARWITNESS_TOKEN"], has_partials=False)
    recording = open_recording(Path(path), "split", ("Agent", "Caller"))
    account = Account(recording.sources)
    await hear(door, recording.sources, account.receive_event)
    for segment in account.transcript.segments:
        if segment.text:
            print(f"{segment.start_ms / 1000:8.2f} s  {segment.label}{segment.text}")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except ClientError as error:
        sys.exit(str(error))
