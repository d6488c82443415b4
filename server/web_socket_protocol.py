"""Bytes of one WebSocket in, messages to the application and frames out, all of it bounded.

Uvicorn's protocol on websockets' core, without what a peer could make it hold or do: what was
received is turned into messages a piece at a time, and only while the application takes them;
nothing is looked at before the handshake is answered, and everybody else has a turn between two
messages, however short they are; pongs are written however many wait unread,
but not to a flood of pings; a message has so many fragments and no more. A connection is kept until
its peer has read the last byte, but not for ever, and what is no handshake is answered without
repeating a word of it. A close in the middle of a fragmented message is a close like any other:
control frames may come between fragments (RFC 6455, 5.4), and websockets calls it a fault.
Whom we close in the middle of what it sends may finish sending: bytes that nobody took would reset
the connection, and it would never read why (RFC 6455, 7.1.1). Who was let in may be allowed longer
messages than others, and is told in the application's words that one was too long: no byte of it is
kept, and nothing behind it is heard.
"""

import asyncio
from http import HTTPStatus

import uvicorn
from typing_extensions import override
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from server import errors
from server.crowd import Place
from server.listen_settings import ListenSettings
from server.long_messages import allowed_bytes
from server.small_reads import SmallReads

MOST_FRAGMENTS = 4096
MOST_PINGS = 64
"""And pongs, at once; one more comes to it every `_PING_EVERY_S`."""
_PING_EVERY_S = 0.1
_PIECE_BYTES = 1024
_ABNORMAL_CLOSE = 1006
_MOST_UNREAD_BYTES = 1 << 17
_MOST_UNHEARD_BYTES = 1 << 24
"""Taken and dropped after our close, while the peer finishes sending."""
_QUIET_S = 2.0
"""After which it has finished, or has heard that it need not."""
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


_TOO_LONG: ASGIReceiveEvent = {  # type: ignore[assignment] # see `Connection.hear`
    "type": "websocket.receive",
    "refusal": errors.MESSAGE_TOO_BIG,
}


class _Conversation(ServerProtocol):
    """Websockets' own, with the changes that the docstring above names."""

    leaves_long_ones = False
    """To the application: a message that is too long is not answered here."""

    @override
    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """See websockets."""
        if not (self.leaves_long_ones and code == CloseCode.MESSAGE_TOO_BIG):
            super().fail(code, reason)

    @override
    def recv_frame(self, frame: Frame) -> None:
        """See websockets."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)

    @override
    def reject(self, status: HTTPStatus | int, text: str) -> Response:
        """See websockets, whose text names the header that it did not like, and its value."""
        response = super().reject(status, "")
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


class BoundedWebSocket(WebSocketsSansIOProtocol, SmallReads):
    """One connection, from its handshake on."""

    def __init__(
        self,
        place: Place,
        settings: ListenSettings,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._place = place
        self._settings = settings
        self.close_timeout = settings.close_limit_s
        self.conn = self._conversation = _Conversation(
            max_size=config.ws_max_size, logger=self.logger
        )
        self._unseen = bytearray()
        """Received, and not yet looked at."""
        self._n_pings_left: float = MOST_PINGS
        self._pinged_at_s = self.loop.time()
        self._n_fragments = 0
        self._n_unheard_bytes: int | None = None
        """Dropped since our close, or since what is too long; None: we listen."""
        self._deaf_until_s = 0.0

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio; uvicorn calls a connection that broke one that was closed without a code."""
        if self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": _ABNORMAL_CLOSE})
        super().connection_lost(exc)
        self._place.leave()

    @override
    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._n_unheard_bytes is None:
            self._unseen += data
            self._look()
            return
        self._n_unheard_bytes += len(data)
        if self._n_unheard_bytes > _MOST_UNHEARD_BYTES:
            self.transport.abort()
        elif self.close_sent:
            self._wait_for_quiet()
        else:
            self.transport.pause_reading()

    @override
    def handle_connect(self, event: Request) -> None:
        """See uvicorn."""
        super().handle_connect(event)
        self.transport.pause_reading()

    @override
    async def receive(self) -> ASGIReceiveEvent:
        """See uvicorn; a hundred thousand empty messages would keep the others waiting."""
        await asyncio.sleep(0)
        message = await super().receive()
        self._look()
        return message

    @override
    async def send(self, message: ASGISendEvent) -> None:
        """See uvicorn."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._allow_long_ones()
        elif message["type"] == "websocket.close" and self._n_unheard_bytes is not None:
            self._linger()
        if self.handshake_complete and not self.read_paused:
            self.transport.resume_reading()
            self._look()

    @override
    def handle_parser_exception(self) -> None:
        """See uvicorn, which takes it for granted that a close could be sent."""
        if self._n_unheard_bytes is not None:
            return
        close = self.conn.close_sent
        if close is None:
            self._leave_to_application()
            return
        self._hear_no_more()
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._linger()
        self.transport.resume_reading()

    @override
    def handle_text(self, event: Frame) -> None:
        """See uvicorn."""
        self._n_fragments = 1
        super().handle_text(event)

    @override
    def handle_bytes(self, event: Frame) -> None:
        """See uvicorn."""
        self._n_fragments = 1
        super().handle_bytes(event)

    @override
    def handle_cont(self, event: Frame) -> None:
        """See uvicorn."""
        self._n_fragments += 1
        if self._n_fragments > MOST_FRAGMENTS:
            self._fail(CloseCode.MESSAGE_TOO_BIG)
        else:
            super().handle_cont(event)

    @override
    def send_receive_event_to_app(self) -> None:
        """See uvicorn."""
        if self._n_unheard_bytes is None:
            super().send_receive_event_to_app()

    @override
    def handle_ping(self) -> None:
        """See uvicorn."""
        super().handle_ping()
        self._count_ping()
        if self.transport.get_write_buffer_size() > _MOST_UNREAD_BYTES:
            self.transport.abort()

    @override
    def handle_pong(self, event: Frame) -> None:
        """See uvicorn: we send no pings, so every one is unasked for."""
        self._count_ping()

    @override
    async def run_asgi(self) -> None:
        """See uvicorn."""
        await super().run_asgi()
        self.loop.call_later(self._settings.unread_limit_s, self.transport.abort)

    def _look(self) -> None:
        """No further than the application has come."""
        while self._unseen and self._may_look():
            piece = bytes(self._unseen[:_PIECE_BYTES])
            del self._unseen[:_PIECE_BYTES]
            super().data_received(piece)
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                self.transport.write(_BAD_REQUEST)
                self.transport.close()

    def _may_look(self) -> bool:
        is_answered = self.handshake_complete or not self.handshake_initiated
        return is_answered and not self.read_paused and not self.transport.is_closing()

    def _allow_long_ones(self) -> None:
        most_bytes = allowed_bytes(self.scope["state"])
        if most_bytes is not None:
            self._conversation.max_message_size = most_bytes
            self._conversation.leaves_long_ones = True

    def _leave_to_application(self) -> None:
        if not self._conversation.leaves_long_ones:
            self.transport.abort()
            return
        self.handle_events()  # of what came before
        if self._n_unheard_bytes is None:
            self._hear_no_more()
            self.queue.put_nowait(_TOO_LONG)

    def _hear_no_more(self) -> None:
        self._unseen.clear()
        self.frames = []
        self._n_unheard_bytes = 0

    def _linger(self) -> None:
        self._deaf_until_s = self.loop.time() + self.close_timeout
        self._wait_for_quiet()

    def _wait_for_quiet(self) -> None:
        """As web servers linger: the connection is ours to close, but nothing may lie unread."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        quiet_s = min(self._deaf_until_s, self.loop.time() + _QUIET_S)
        self.close_timer = self.loop.call_at(quiet_s, self.transport.close)

    def _count_ping(self) -> None:
        now_s = self.loop.time()
        earned = (now_s - self._pinged_at_s) / _PING_EVERY_S
        self._n_pings_left = min(self._n_pings_left + earned, MOST_PINGS) - 1
        self._pinged_at_s = now_s
        if self._n_pings_left < 0:
            self._fail(CloseCode.POLICY_VIOLATION)

    def _fail(self, code: CloseCode) -> None:
        if not self.transport.is_closing() and self._n_unheard_bytes is None:
            self.conn.fail(code)
            self.handle_parser_exception()
