"""Signed notes in, the same notes appended to the copies that the settings name.

A copy lies on another machine, where there is one: it may be slow or out of reach, so it is written
outside the turns, in its own time, and a copy that fails is told and is no error. It is told once,
until it works again: what is told becomes a row, and a row makes a checkpoint.
"""

import asyncio
import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from security.trail_notes import append_copy

_log = structlog.get_logger()
_MOST_WAITING = 16
_END_LIMIT_S = 2.0


class CheckpointCopies:
    """Takes notes while `run` runs."""

    def __init__(self, paths: Sequence[Path], on_failure: Callable[[str], None]) -> None:
        """`on_failure` is told the name of the system's error, once until that copy works again."""
        self._paths = paths
        self._on_failure = on_failure
        self._notes: asyncio.Queue[str | None] = asyncio.Queue(_MOST_WAITING)
        self._failing: set[Path | None] = set()
        """None: the queue to all of them."""

    def add(self, note: str) -> None:
        """To be copied; what comes while too much waits is left out."""
        if not self._paths:
            return
        try:
            self._notes.put_nowait(note)
            self._failing.discard(None)
        except asyncio.QueueFull:
            self._fail(None, "queue_full")

    async def run(self) -> None:
        """Copies until `end`."""
        while (note := await self._notes.get()) is not None:
            for path in self._paths:
                try:
                    await asyncio.to_thread(append_copy, path, note)
                    self._failing.discard(path)
                except OSError as error:
                    self._fail(path, errno.errorcode.get(error.errno or 0, "unknown").lower())

    async def end(self, running: "asyncio.Task[None]") -> None:
        """What waits is copied first, if it does not take long."""
        try:
            async with asyncio.timeout(_END_LIMIT_S):
                await self._notes.put(None)
                await asyncio.wait([running])
        except TimeoutError:
            running.cancel()
            self._fail(None, "too_slow")

    def _fail(self, path: Path | None, reason: str) -> None:
        if path in self._failing:
            return
        self._failing.add(path)
        _log.error("a copy of a checkpoint could not be written", reason=reason)
        self._on_failure(reason)
