"""Pipecat's service for Deepgram, in a pipeline that hears."""

import asyncio
import base64
import json
import sys

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.deepgram.stt import DeepgramSTTService

RATE_HZ = 16_000
logger.remove()


def tell(**line):
    print(json.dumps(line), flush=True)


class Teller(FrameProcessor):
    def __init__(self):
        super().__init__()
        self.has_heard = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        match frame:
            case InterimTranscriptionFrame():
                tell(type="interim", text=frame.text)
            case TranscriptionFrame():
                tell(type="final", text=frame.text, finalized=frame.finalized)
                self.has_heard.set()
            case ErrorFrame():
                tell(type="error", error=frame.error)
        await self.push_frame(frame, direction)


async def main():
    given = json.load(sys.stdin)
    stt = DeepgramSTTService(api_key=given["key"], base_url=given["url"].replace("http", "ws", 1))
    errors = []

    @stt.event_handler("on_error")
    async def on_error(_service, frame):
        errors.append(frame)
        tell(type="error", error=frame.error)

    teller = Teller()
    task = PipelineTask(
        Pipeline([stt, teller]), params=PipelineParams(audio_in_sample_rate=RATE_HZ)
    )

    async def speak():
        pcm = base64.b64decode(given["audio"])
        step = RATE_HZ // 50 * 2
        await task.queue_frame(VADUserStartedSpeakingFrame())
        for start in range(0, len(pcm), step):
            part = pcm[start : start + step]
            await task.queue_frame(InputAudioRawFrame(part, RATE_HZ, 1))
            await asyncio.sleep(given["frame_s"])
        await task.queue_frame(VADUserStoppedSpeakingFrame())
        if not errors:
            try:
                await asyncio.wait_for(teller.has_heard.wait(), given["patience_s"])
            except TimeoutError:
                tell(type="late")
        await task.queue_frame(EndFrame())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak())
        await PipelineRunner(handle_sigint=False).run(task)
    tell(type="ended")


asyncio.run(main())
