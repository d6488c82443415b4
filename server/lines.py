"""Bytes as they are made in, a response that goes on out; and the places there are for such.

A place is given back when the response has ended, however it ended: told to its end, left by its
reader, or broken off. What must be done then is done after that, with a limit of its own. An answer
that is broken off lacks its last chunk, so that nobody takes it for whole.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from server import errors
from server.errors import RefusedError

_END_LIMIT_S = 2.0


class Places:
    """So many at a time, and so many of them for one."""

    def __init__(self, most: int, most_each: int | None = None) -> None:
        self._most = most
        self._most_each = most if most_each is None else most_each
        self._taken: Counter[str] = Counter()

    def take(self, who: str) -> "Place":
        """Raises RefusedError."""
        if self._taken.total() >= self._most or self._taken[who] >= self._most_each:
            raise RefusedError(errors.OVERLOADED)
        self._taken[who] += 1
        return Place(partial(self._free, who))

    def _free(self, who: str) -> None:
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


class Place:
    """One, until it is given back."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free: Callable[[], None] | None = free

    def give_back(self) -> None:
        """Once; no harm if it is done again."""
        if self._free is not None:
            self._free()
            self._free = None


class Lines(StreamingResponse):
    """Has its place from the beginning."""

    def __init__(
        self,
        lines: AsyncIterator[bytes],
        place: Place,
        media_type: str,
        headers: Mapping[str, str],
        on_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(lines, headers=headers, media_type=media_type)
        self._lines = lines
        self._place = place
        self._on_end = on_end

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See starlette."""
        try:
            with suppress(RefusedError):  # broken off, which is no fault to be logged
                await super().__call__(scope, receive, send)
        finally:
            self._place.give_back()
            if self._on_end is not None:
                async with asyncio.timeout(_END_LIMIT_S):
                    await self._on_end()
