"""A token, or a function that brings one, in; the token for the next handshake out.

A session can be longer than a token. So a function is asked at each handshake, and a token that
was shown to the server by `refresh` counts as newer than the one before it.
"""

import asyncio
from collections.abc import Callable

from client.errors import UnusableError


class Credential:
    """Knows the newest token."""

    def __init__(self, token: str | Callable[[], str]) -> None:
        """A function may block; it is called in a thread, and may raise UnusableError."""
        self._token = token
        self._last = token if isinstance(token, str) else None
        self._outdated: str | None = None

    async def find(self, shown: str | None) -> str:
        """`shown`: by `refresh`, and not refused. Raises UnusableError if there never was any."""
        found = await self._ask()
        if found != self._last:
            self._last, self._outdated = found, shown
        return found if shown is None or shown == self._outdated else shown

    async def _ask(self) -> str:
        if isinstance(self._token, str):
            return self._token
        try:
            return await asyncio.to_thread(self._token)
        except UnusableError:
            if self._last is None:
                raise
            return self._last  # what brings tokens may need the network, too
