"""A telephone system's connection in; its call, in a session of its own, out: the shell of
`server.bridge`.

To the session this is a client like any other: a socket that speaks the native protocol, so that
quotas, trail, places and the end of a token's time are those of all sessions. The wire is read
whatever happens, since a telephone system that is not read blocks the call itself: what the session
cannot take waits within a bound, and beyond it is let go and counted. What is to be said waits
within a bound, too, and a peer that does not read counts as gone. A call that cannot be put on
record is not heard.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict, dataclass
from typing import Protocol

from starlette.types import Message

from security.call_events import CallEnded, CallStarted
from security.pseudonyms import Pseudonyms
from server import wire
from server.bridge import Bridge
from server.bridge_settings import BridgeSettings
from server.bridge_values import (
    PEER_LOST,
    Action,
    Admit,
    Cause,
    EndSession,
    ToCall,
    ToPeer,
    ToSession,
)
from server.call import CallSeat
from server.call_values import CallTrack, Role
from server.calls import Calls
from server.dialects.values import Close, Frame, Opening
from server.errors import RefusedError
from server.reception import Entry
from server.recorder import Recorder, record_or_refuse

_MOST_WAITING_BYTES = 1 << 18
"""Of audio for a session: half a minute of G.711."""
_MOST_UNREAD_FRAMES = 512
_WRITE_LIMIT_S = 10.0
_NOTE_LIMIT_S = 5.0
_FOREVER_S = 1e9
_UNREAD_CLOSE = 1008
_ENDED, _CANCELLED = "stopped", "cancelled"


class Wire(Protocol):
    """The connection, whatever it is."""

    async def receive(self) -> str | bytes | None:
        """The next frame; None: the peer has closed. Raises RefusedError where it was sent away for
        what it sent, ConnectionError where it has gone without a word.
        """
        ...

    async def send(self, frame: str | bytes) -> None:
        """Raises ConnectionError when nobody is there."""
        ...

    async def close(self, code: int) -> None:
        """The last call; raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class CallOffice:
    """What all bridges of a server share."""

    calls: Calls
    trail: Recorder
    pseudonyms: Pseudonyms
    languages: frozenset[str]
    """That the model knows."""


Enter = Callable[[Opening], AbstractAsyncContextManager[Entry]]
"""A place for who opens a call. Raises RefusedError on entry."""


class _NativeSocket:
    """What the session takes for its client. See `server.connection.Socket`."""

    def __init__(self, on_event: Callable[[wire.ServerEvent], None]) -> None:
        self._on_event = on_event
        self._waiting: deque[Message] = deque()
        self._n_bytes = 0
        self._has_any = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether more would be too much."""
        return self._n_bytes >= _MOST_WAITING_BYTES

    def put(self, action: ToSession | EndSession) -> None:
        """Say it next."""
        message: Message = {"type": "websocket.receive"}
        if isinstance(action, EndSession):
            message["refusal"] = action.refusal
        elif isinstance(action.frame, str):
            message["text"] = action.frame
        else:
            message["bytes"], message["channel"] = action.frame, action.channel
            self._n_bytes += len(action.frame)
        self._waiting.append(message)
        self._has_any.set()

    async def receive(self) -> Message:
        """The next message of the client that this stands for."""
        await asyncio.sleep(0)  # what waits already must not keep the others waiting
        while not self._waiting:
            self._has_any.clear()
            await self._has_any.wait()
        message = self._waiting.popleft()
        self._n_bytes -= len(message.get("bytes", b""))
        return message

    async def send_text(self, data: str, /) -> None:
        """Hand an event to the bridge."""
        self._on_event(wire.decode_server_event(data))

    async def close(self, code: int, /) -> None:
        """Nothing: that it ends is seen when it has."""


class Bridging:
    """Runs one connection to its end."""

    def __init__(
        self,
        office: CallOffice,
        settings: BridgeSettings,
        peer: Wire,
        bridge: Bridge,
        enter: Enter,
        named_call: str | None = None,
    ) -> None:
        """`named_call`: how the address names it, where the wire does not."""
        self._named_call = named_call
        self._office = office
        self._settings = settings
        self._peer = peer
        self._bridge = bridge
        self._enter = enter
        self._native = _NativeSocket(self._receive_event)
        self._opening: Opening | None = None
        self._is_asked = asyncio.Event()
        """Whether who it is is to be found out, or it is over before."""
        self._is_decided = asyncio.Event()
        """Unless who it is is being found out."""
        self._is_decided.set()
        self._languages = office.languages
        self._seat: CallSeat | None = None
        self._unsent: asyncio.Queue[Frame | None] = asyncio.Queue()
        """None: nothing more comes."""
        self._is_deaf = False
        self._has_earlier_deadline = asyncio.Event()
        self._wakes_s = 0.0
        """When the ticker looks next."""

    async def run(self) -> None:
        """Until both are done with it. Raises RefusedError where it never came to a call, and that
        is nowhere on record.
        """
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self._read()), tasks.create_task(self._tick())]
            writing = tasks.create_task(self._write())
            await self._converse()
            await writing
            for task in helpers:
                task.cancel()
        cause = self._bridge.cause
        if self._opening is None and cause is not None and cause.refusal is not None:
            raise RefusedError(cause.refusal, cause.reason)

    # --- the call ---

    async def _converse(self) -> None:
        await self._is_asked.wait()
        if self._opening is None:
            return
        if self._opening.is_probe:  # nobody calls; that it may look was checked at the upgrade
            self._bridge.receive_probed(self._languages, time.monotonic())
            self._carry_out()
            return
        try:
            async with self._enter(self._opening) as entry:
                await self._attend(self._opening, entry)
        except RefusedError as refused:
            self._bridge.receive_refused(refused.refusal, time.monotonic())
            self._carry_out()

    async def _attend(self, opening: Opening, entry: Entry) -> None:
        """On record from its beginning to its end. Raises RefusedError."""
        place = entry.grant.call
        told_id = opening.call_id or self._named_call or entry.session_id
        call_id = place.call_id if place else told_id
        tracks = [CallTrack(name, self._role_of(name, entry, opening)) for name in opening.tracks]
        await record_or_refuse(self._office.trail, self._started(entry, opening, call_id, tracks))
        reason = _CANCELLED
        try:
            await self._hear(entry, call_id, tracks)
            reason = self._bridge.cause.reason if self._bridge.cause else _ENDED
        except RefusedError as refused:
            reason = refused.reason
            raise
        finally:
            if self._seat is not None:
                self._seat.leave(reason, time.monotonic())
            await self._note_end(entry, call_id, len(tracks), reason)

    async def _hear(self, entry: Entry, call_id: str, tracks: list[CallTrack]) -> None:
        """Raises RefusedError."""
        grant, now_s = entry.grant, time.monotonic()
        if grant.languages is not None:
            self._languages &= grant.languages
        join = self._office.calls.join
        self._seat = join(grant.who, call_id, entry.session_id, tracks, now_s)
        self._bridge.receive_admitted(now_s, grant.call.language if grant.call else None)
        if self._bridge.is_open:
            self._carry_out()
            await entry.run(self._native)
            self._bridge.receive_session_end(time.monotonic())
        self._carry_out()

    def _role_of(self, track: str, entry: Entry, opening: Opening) -> Role:
        """A ticket's, where it is for one voice, that of the settings, or what the name says."""
        if entry.grant.call is not None and len(opening.tracks) == 1:
            return entry.grant.call.role
        named = Role(track) if track in set(Role) else Role.UNKNOWN
        return self._settings.roles.get(track, named)

    def _started(
        self, entry: Entry, opening: Opening, call_id: str, tracks: list[CallTrack]
    ) -> CallStarted:
        pseudonyms = self._office.pseudonyms
        return CallStarted(
            session_id=entry.session_id,
            **entry.grant.holder,
            **entry.caller.shown,
            bridge=self._settings.name,
            dialect=self._settings.dialect,
            call_id=call_id,
            roles=" ".join(track.role for track in tracks),
            caller=pseudonyms.of(opening.caller),
            callee=pseudonyms.of(opening.callee),
        )

    async def _note_end(self, entry: Entry, call_id: str, n_tracks: int, reason: str) -> None:
        event = CallEnded(
            session_id=entry.session_id,
            **entry.grant.holder,
            call_id=call_id,
            reason=reason,
            n_tracks=n_tracks,
            **asdict(self._bridge.losses),
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOTE_LIMIT_S):
                await self._office.trail.note(event)

    # --- to and fro ---

    async def _read(self) -> None:
        cause: Cause | None = None
        try:
            while (frame := await self._peer.receive()) is not None:
                self._bridge.receive_frame(frame, time.monotonic())
                self._carry_out()
                await self._is_decided.wait()  # what comes meanwhile waits in the kernel, unseen
        except RefusedError as refused:
            cause = Cause(refused.refusal, refused.reason)
        except ConnectionError:
            cause = PEER_LOST
        self._bridge.receive_gone(time.monotonic(), cause)
        self._carry_out()

    async def _write(self) -> None:
        while (frame := await self._unsent.get()) is not None:
            if isinstance(frame, Close):
                await self._peer.close(frame.code)
                return
            try:
                async with asyncio.timeout(_WRITE_LIMIT_S):
                    await self._peer.send(frame)
            except (ConnectionError, TimeoutError):
                self._give_up()
                return

    async def _tick(self) -> None:
        while True:
            self._has_earlier_deadline.clear()
            self._wakes_s = self._bridge.next_deadline_s
            wait_s = self._wakes_s - time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s if wait_s < _FOREVER_S else None):
                    await self._has_earlier_deadline.wait()
            self._bridge.tick(time.monotonic())
            self._carry_out()

    def _receive_event(self, event: wire.ServerEvent) -> None:
        self._bridge.receive_event(event, self._languages, time.monotonic())
        self._carry_out()

    def _carry_out(self) -> None:
        while actions := self._bridge.actions():
            for action in actions:
                self._act(action)
        self._bridge.is_behind = self._native.is_full
        if self._bridge.is_asking:
            self._is_decided.clear()
        else:
            self._is_decided.set()
        if self._bridge.is_over:
            self._unsent.put_nowait(None)
            self._is_asked.set()
        if self._bridge.next_deadline_s < self._wakes_s:
            self._has_earlier_deadline.set()

    def _act(self, action: Action) -> None:
        match action:
            case Admit(opening):
                self._opening = opening
                self._is_asked.set()
            case ToSession() | EndSession():
                self._native.put(action)
            case ToPeer(frame):
                self._put(frame)
            case ToCall(said) if self._seat is not None:
                self._seat.say(said.channel, said.event, time.monotonic())
            case ToCall():
                pass

    def _put(self, frame: Frame) -> None:
        if self._is_deaf:
            return
        self._unsent.put_nowait(frame)
        if self._unsent.qsize() > _MOST_UNREAD_FRAMES:
            self._give_up()

    def _give_up(self) -> None:
        """The peer does not read; what it said is heard to its end."""
        self._is_deaf = True
        self._unsent.put_nowait(Close(_UNREAD_CLOSE))
        self._bridge.receive_gone(time.monotonic())
