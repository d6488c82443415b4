"""Pipecat's service for OpenAI's Realtime API hears a recording: a line for each of its frames. A
program of its own: it knows nothing of ours.
"""

import asyncio
import base64
import json
import sys

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
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 16_000
FRAME_BYTES = 640
TOLD = (InterimTranscriptionFrame, TranscriptionFrame, ErrorFrame)


class Ears(FrameProcessor):
    """Tells what passes, in both directions."""

    def __init__(self, has_heard):
        super().__init__()
        self._has_heard = has_heard

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TOLD):
            text = frame.error if isinstance(frame, ErrorFrame) else frame.text
            print(json.dumps({"frame": type(frame).__name__, "text": text}), flush=True)
        if isinstance(frame, TranscriptionFrame):
            self._has_heard.set()
        await self.push_frame(frame, direction)


async def hear(given):
    has_heard = asyncio.Event()
    service = OpenAIRealtimeSTTService(
        api_key=given["key"],
        base_url=given["url"],
        turn_detection=given["turn_detection"],
        reconnect_backoff_min_wait=0.1,
        reconnect_backoff_max_wait=0.2,
    )
    pipeline = Pipeline([Ears(asyncio.Event()), service, Ears(has_heard)])
    params = PipelineParams(audio_in_sample_rate=RATE_HZ)
    worker = PipelineWorker(pipeline, params=params, enable_rtvi=False)
    has_started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(_worker, _frame):
        has_started.set()

    async def push():
        await has_started.wait()
        pcm = base64.b64decode(given["pcm"])
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        for start in range(0, len(pcm), FRAME_BYTES):
            audio = pcm[start : start + FRAME_BYTES]
            await worker.queue_frame(InputAudioRawFrame(audio, RATE_HZ, 1))
            await asyncio.sleep(0.02)
        await worker.queue_frame(VADUserStoppedSpeakingFrame(stop_secs=0.2))
        try:
            await asyncio.wait_for(has_heard.wait(), given["limit_s"])
        except TimeoutError:
            print(json.dumps({"frame": "none"}), flush=True)
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner()
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        tasks.create_task(push())


asyncio.run(hear(json.load(sys.stdin)))
