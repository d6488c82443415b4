"""Bytes of one connection in, HTTP answers out; or a WebSocket, once it asks to be one.

Uvicorn's protocol on h11, without the patience: a further request's head must be complete within
its limit, counted from the answer before, however it trickles, as the first must (`Doorstep`); a
body must keep a pace and come to an end; an answer must be read. What comes too late is answered
with 408 where an answer is possible, a head that is too long or has too many headers with 431, what
is no HTTP with 400, and then the connection is closed, whether or not the peer takes note.
"""

import asyncio
from functools import partial
from http import HTTPStatus

import h11
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from server.doorstep import END_LIMIT_S, Arrival, encode_refusal
from server.small_reads import SmallReads
from server.web_socket_protocol import BoundedWebSocket


class _Conversation(h11.Connection):
    """h11's, which also counts headers, and remembers what status a peer's fault calls for."""

    def __init__(self, most_head_bytes: int, most_headers: int) -> None:
        super().__init__(h11.SERVER, most_head_bytes)
        self._most_head_bytes = most_head_bytes
        self._most_headers = most_headers
        self.fault_status = HTTPStatus.BAD_REQUEST.value

    @override
    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """See h11. Raises RemoteProtocolError."""
        try:
            event = super().next_event()
            if isinstance(event, h11.Request) and self._is_too_long(event):
                raise h11.RemoteProtocolError(
                    "head too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                )
        except h11.RemoteProtocolError as error:
            self.fault_status = error.error_status_hint
            raise
        return event

    def _is_too_long(self, request: h11.Request) -> bool:
        """A head may be complete before it is too long to be waited for."""
        lines = [(request.method, request.target), *request.headers]
        length = sum(len(name) + len(value) + len(": \r\n") for name, value in lines)
        return len(request.headers) > self._most_headers or length > self._most_head_bytes


class BoundedHttp(H11Protocol, SmallReads):
    """One connection."""

    def __init__(self, config: uvicorn.Config, state: ServerState, arrival: Arrival) -> None:
        super().__init__(config, state, {})
        self._arrival = arrival
        self._settings = settings = arrival.settings
        self.conn = self._conversation = _Conversation(
            settings.most_head_bytes, settings.most_headers
        )
        self.ws_protocol_class = partial(  # type: ignore[assignment] # uvicorn only calls it
            BoundedWebSocket, arrival.place, settings
        )
        self._deadline: asyncio.TimerHandle | None = None
        """For the head or, while one comes, for the body."""
        self._unread_deadline: asyncio.TimerHandle | None = None
        self._n_unread = 0
        self._is_silent = True
        """Whether nothing of the next request has come."""
        self._n_received = 0
        self._was_paused = False
        """By us, since the pace was last asked for."""
        self._body_since_s = 0.0

    @property
    def _answering(self) -> RequestResponseCycle | None:
        """None before the first request, which uvicorn's own type does not say."""
        return self.cycle

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        self._cancel_deadlines()
        self._arrival.place.leave()

    @override
    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.transport.is_closing():  # TLS may have more to say
            return
        self._is_silent = False
        self._n_received += len(data)
        super().data_received(data)

    @override
    def handle_events(self) -> None:
        """See uvicorn: afterwards it may be another request's turn, or the body may have ended."""
        before = self._answering
        super().handle_events()
        self._was_paused |= self.flow.read_paused
        answering = self._answering
        if answering is None or self.transport.is_closing():
            return
        if answering is not before and answering.more_body:
            self._expect_body()
        elif not answering.more_body and not answering.response_complete:
            self._set_deadline(None)

    @override
    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """See uvicorn: from here on the connection is the WebSocket's."""
        self._cancel_deadlines()
        super().handle_websocket_upgrade(event)

    @override
    def on_response_complete(self) -> None:
        """See uvicorn, whose own limit ends with the first byte of the next request."""
        self._is_silent = not self.conn.trailing_data[0]
        self._expect_head()
        super().on_response_complete()
        self._unset_keepalive_if_required()

    @override
    def send_400_response(self, msg: str) -> None:
        """See uvicorn."""
        self._refuse(self._conversation.fault_status)

    @override
    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._check_reading_later()

    @override
    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        _cancel(self._unread_deadline)

    def _check_reading_later(self) -> None:
        _cancel(self._unread_deadline)
        self._n_unread = self.transport.get_write_buffer_size()
        limit_s = self._settings.unread_limit_s
        self._unread_deadline = self.loop.call_later(limit_s, self._check_reading)

    def _check_reading(self) -> None:
        n_read = self._n_unread - self.transport.get_write_buffer_size()
        if n_read < self._settings.least_bytes_per_s * self._settings.unread_limit_s:
            self.transport.abort()
        else:
            self._check_reading_later()

    def _expect_head(self) -> None:
        self._set_deadline(self.loop.call_later(self._settings.head_limit_s, self._end_late_head))

    def _end_late_head(self) -> None:
        if self._is_silent:
            self._end()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _expect_body(self) -> None:
        self._body_since_s = self.loop.time()
        self._check_later()

    def _check_later(self) -> None:
        self._n_received = 0
        self._was_paused = self.flow.read_paused
        self._set_deadline(self.loop.call_later(self._settings.upload_check_s, self._check_body))

    def _check_body(self) -> None:
        """That we let it wait is no fault of the peer's, but does not make its limit longer."""
        settings = self._settings
        expected_bytes = settings.least_bytes_per_s * settings.upload_check_s
        has_waited = self._was_paused or self.cycle.waiting_for_100_continue
        is_slow = self._n_received < expected_bytes and not has_waited
        is_long = self.loop.time() - self._body_since_s >= settings.upload_limit_s
        if is_slow or is_long:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._check_later()

    def _refuse(self, status: int) -> None:
        """Answer if nothing was yet, tell the application that its peer is gone, and end."""
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
        is_answerable = self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}
        self._end(encode_refusal(status) if is_answerable else b"")

    def _end(self, answer: bytes = b"") -> None:
        """A peer that is still reading goes on; the refusal itself is no reason to wait."""
        self._cancel_deadlines()
        is_reading = self.transport.get_write_buffer_size() > 0
        if answer:
            self.transport.write(answer)
        self.transport.close()
        if is_reading:
            self._check_reading_later()
        else:
            self.loop.call_later(END_LIMIT_S, self.transport.abort)

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        _cancel(self._deadline)
        self._deadline = deadline

    def _cancel_deadlines(self) -> None:
        self._set_deadline(None)
        _cancel(self._unread_deadline)


def _cancel(deadline: asyncio.TimerHandle | None) -> None:
    if deadline is not None:
        deadline.cancel()
