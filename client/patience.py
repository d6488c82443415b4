"""An attempt in; what came of it, or of a later one where the server has no room now, out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from client.errors import RefusedError, SessionError

T = TypeVar("T")

_LATER = (429, 503)


async def try_patiently(
    attempt: Callable[[], Awaitable[T]],
    waits_s: Sequence[float],
    *,
    can_wait: Callable[[], bool] = lambda: True,
    tell: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Try, and wait before each further attempt, where `can_wait` says so; `tell` hears of it in a
    line. Raises what the attempt does.
    """
    for wait_s in waits_s:
        try:
            return await attempt()
        except (RefusedError, SessionError) as error:
            if not _is_for_later(error) or not can_wait():
                raise
            tell(f"{error} Asking again in {wait_s:g} s …")
        await sleep(wait_s)
    return await attempt()


def _is_for_later(error: RefusedError | SessionError) -> bool:
    if isinstance(error, RefusedError):
        return error.http_status in _LATER
    return error.is_retryable
