"""Short work on files in, its result out: done in one thread, one after the other, off the loop.

Whoever is cancelled while its work runs is let go when the work is done, within a limit: files must
not be written by a thread whose turn at writing is over.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Done = TypeVar("_Done")
_END_LIMIT_S = 2.0


class FileThread:
    """One thread, from its first work to `close`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "trail files")

    async def run(
        self, work: Callable[_Given, _Done], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Done:
        """What `work` gives."""
        running = asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running], timeout=_END_LIMIT_S)
            if running.done() and not running.cancelled():
                running.exception()  # it is heard of: nobody else will ask
            raise

    def close(self) -> None:
        """The thread ends with what it does now; may be called again."""
        self._pool.shutdown(wait=False)
