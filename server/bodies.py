"""A request's body in, the message in it out: strict, and never more of it than it may be, which is
little unless who reads it expects more.
"""

from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from server import errors
from server.errors import RefusedError

MOST_BYTES = 4096
_Message = TypeVar("_Message")


async def read_message(
    request: Request, kind: type[_Message], most_bytes: int = MOST_BYTES
) -> _Message:
    """A JSON object of this kind; no body at all is an empty one. Raises RefusedError."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise RefusedError(errors.MESSAGE_TOO_BIG)
    except ClientDisconnect:
        raise RefusedError(errors.REQUEST_LATE, "body_unfinished") from None
    try:
        return msgspec.json.decode(bytes(body) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RefusedError(errors.BAD_REQUEST) from None
