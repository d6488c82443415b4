"""A request's messages in, the same out; of a body that is refused, what comes at once is dropped.

A client that still writes when its connection is closed may not hear the answer: some take a key
that was refused for a server that failed. So the rest of what it writes is taken before it is
answered, if that is not much and does not take long. Nothing of it is kept.
"""

import asyncio
import contextlib

from starlette.types import Message, Receive

_DROP_LIMIT_S = 0.5
_MOST_DROPPED_BYTES = 1 << 20


class Incoming:
    """Of one request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_more = True
        """Of its body."""

    async def receive(self) -> Message:
        """See ASGI."""
        message = await self._receive()
        self._has_more = bool(message.get("more_body"))
        return message

    async def drop_rest(self) -> None:
        """Of a body that nobody wants, or until the client has gone."""
        n_bytes = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DROP_LIMIT_S):
                while self._has_more and n_bytes < _MOST_DROPPED_BYTES:
                    n_bytes += len((await self.receive()).get("body", b""))
