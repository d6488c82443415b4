"""Many recordings in; a document beside each, a line about each, and the first failure out.

A few at a time, in order. One that fails is told and does not stop the others, but for a refusal
of the token itself, with which no other file would fare better. A server that is full, or that
allows the token no more sessions just now, is asked again, later each time. What is there already
is left as it is and counts as done, so that the same command goes on where an interrupted one
ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from client.errors import ClientError, RefusedError
from client.hearing import Account, Door, hear, open_recording
from client.options import Options
from client.outputs import Job, make_folder, plan_jobs, write_output
from client.patience import try_patiently

WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Before each further attempt."""

_TOKEN_IS_NO_GOOD = (401, 403)


class Batch:
    """All files of one command line."""

    def __init__(
        self,
        options: Options,
        door: Door,
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._door = door
        self._tell = tell
        self._sleep = sleep
        self._kind = options.kind or "txt"
        self._jobs: list[Job] = []
        self._n_done = self._n_written = self._n_skipped = 0
        self._failures: dict[int, ClientError] = {}
        """By the place of the file in their order."""
        self._is_refused = False

    async def run(self) -> ClientError | None:
        """Do all of it. Raises UnusableError if there is nothing to do."""
        self._jobs = await asyncio.to_thread(
            plan_jobs, self._options.files, self._kind, self._options.output_folder
        )
        queue = iter(list(enumerate(self._jobs)))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._options.n_jobs, len(self._jobs))):
                group.create_task(self._work(queue))
        self._tell(self._summary())
        return self._failures[min(self._failures)] if self._failures else None

    async def _work(self, queue: Iterator[tuple[int, Job]]) -> None:
        """One of those who work side by side."""
        for at, job in queue:
            if self._is_refused:
                return
            try:
                outcome = await self._do(job)
            except ClientError as error:
                self._failures[at] = error
                self._is_refused |= _is_for_all(error)
                outcome = _complaint(job.recording, error)
            self._n_done += 1
            self._tell(f"{self._n_done}/{len(self._jobs)}  {outcome}")

    async def _do(self, job: Job) -> str:
        is_forced = self._options.is_forced
        if job.output.exists() and not is_forced:
            self._n_skipped += 1
            return f"{job.output} is there already"
        content = await self._transcribe(job.recording)
        await asyncio.to_thread(make_folder, job.output.parent)
        await asyncio.to_thread(write_output, job.output, content, is_forced=is_forced)
        self._n_written += 1
        return f"{job.recording} → {job.output}"

    async def _transcribe(self, path: Path) -> str:
        return await try_patiently(lambda: self._try(path), WAITS_S, sleep=self._sleep)

    async def _try(self, path: Path) -> str:
        options = self._options
        recording = await asyncio.to_thread(open_recording, path, options.channels, options.labels)
        account = Account(recording.sources, self._kind)
        await hear(self._door, recording.sources, account.receive_event, options.pace)
        return account.encode()

    def _summary(self) -> str:
        n_untried = len(self._jobs) - self._n_done
        counts = {
            "written": self._n_written,
            "there already": self._n_skipped,
            "failed": len(self._failures),
            "not tried": n_untried,
        }
        return ", ".join(f"{n} {what}" for what, n in counts.items() if n) + "."


def _complaint(path: Path, error: ClientError) -> str:
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _is_for_all(error: ClientError) -> bool:
    """Whether every other file would be refused, too."""
    return isinstance(error, RefusedError) and error.http_status in _TOKEN_IS_NO_GOOD
