"""Bytes of a new connection in; the connection handed on once it has asked for something, or ended.

Thousands of sockets that say nothing, or say it a byte at a time, are to cost no more than sockets:
what speaks HTTP is made only when a request's head is whole, is longer than any may be, or can
become none. Until then there is a deadline, which is answered with 408 if anything came; if nothing
did the connection is closed without a word, since browsers open such ones in advance. No
peer makes the server hold more than two small reads before it is refused.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from typing_extensions import override
from uvicorn.server import ServerState

from server.crowd import Place
from server.listen_settings import ListenSettings
from server.small_reads import SmallReads

END_LIMIT_S = 0.5
"""For a refused peer to take the answer; the socket is let go of after it."""
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_LONGEST_END = len(b"\n\r\n")
_FIRST_OF_A_WORD = ord("!")
_REFUSAL = (
    "HTTP/1.1 {status} {phrase}\r\n"
    "cache-control: no-store\r\n"
    "connection: close\r\n"
    "content-length: 0\r\n"
    "x-content-type-options: nosniff\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection as it was accepted."""

    place: Place
    accepted_at_s: float
    """By the loop's clock: the time for a TLS handshake is taken from the time for the head."""
    settings: ListenSettings


def encode_refusal(status: int) -> bytes:
    """An answer without a body, after which the connection is closed."""
    return _REFUSAL.format(status=int(status), phrase=HTTPStatus(status).phrase).encode()


class Doorstep(SmallReads):
    """One connection, until it has asked for something."""

    def __init__(
        self, arrival: Arrival, state: ServerState, new_http: Callable[[], asyncio.Protocol]
    ) -> None:
        self._arrival = arrival
        self._waiting = state.connections
        self._new_http = new_http
        self._head = bytearray()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """See asyncio."""
        self._transport = transport
        self._waiting.add(self)  # type: ignore[arg-type] # uvicorn only calls `shutdown`
        at_s = self._arrival.accepted_at_s + self._arrival.settings.head_limit_s
        self._deadline = asyncio.get_running_loop().call_at(at_s, self._end)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._leave()
        self._arrival.place.leave()

    @override
    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._transport.is_closing():  # TLS may have more to say
            return
        searched = max(len(self._head) - _LONGEST_END, 0)
        self._head += data
        is_whole = _END_OF_HEAD.search(self._head, searched) is not None
        is_long = len(self._head) > self._arrival.settings.most_head_bytes
        if is_whole or is_long or self._head[0] < _FIRST_OF_A_WORD:
            self._hand_on()

    def shutdown(self) -> None:
        """The server ends; see uvicorn."""
        self._transport.close()

    def _hand_on(self) -> None:
        self._leave()
        http = self._new_http()
        self._transport.set_protocol(http)
        http.connection_made(self._transport)
        http.data_received(bytes(self._head))

    def _end(self) -> None:
        if self._head:
            self._transport.write(encode_refusal(HTTPStatus.REQUEST_TIMEOUT))
        self._transport.close()
        asyncio.get_running_loop().call_later(END_LIMIT_S, self._transport.abort)

    def _leave(self) -> None:
        self._deadline.cancel()
        self._waiting.discard(self)
