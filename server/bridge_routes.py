"""The upgrades of telephone systems in; calls, bridged to sessions, out.

    /v1/bridges/<name>          WebSocket, in the dialect that the settings give it

Who shows a good credential has its place before the connection is accepted, and a refusal is an
HTTP answer. Where a vendor's wire can carry none, its signature is checked first, and the token
must come in the opening: such connections are few, and they end within seconds. `Origin` means
nothing here: telephone systems send whatever their libraries do, and show no cookies.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from server import errors
from server.app import answer
from server.bridge import Bridge
from server.bridge_kinds import BridgeKind
from server.bridging import Bridging, CallOffice, Enter
from server.dialects.values import Opening, Upgrade, is_id
from server.door import Ticket, Token
from server.errors import RefusedError
from server.grant import Grant
from server.lines import Place, Places
from server.reception import Entry, Reception
from server.visitor import caller_of, upgrade_of

_CLOSE_LIMIT_S = 1.0
_CLOSED_BY_NOBODY = 1006
_MOST_UNKNOWN = 256
"""Connections of whom we do not know yet who they are, together and of one address: a vendor's
calls come from few addresses."""
_MOST_UNKNOWN_OF_ADDRESS = 64


@dataclass(frozen=True, slots=True)
class BridgeStages:
    """What the routes stand on."""

    reception: Reception
    office: CallOffice
    grants: Mapping[str, Grant]
    """Of bridges whose vendor's signature is enough, by name."""


class _Bridges:
    """Of one server."""

    def __init__(self, stages: BridgeStages) -> None:
        self._stages = stages
        self._unknown = Places(_MOST_UNKNOWN, _MOST_UNKNOWN_OF_ADDRESS)

    async def serve(self, kind: BridgeKind, websocket: WebSocket) -> None:
        """One connection, to its end."""
        upgrade, reception = upgrade_of(websocket), self._stages.reception
        lasts_s = kind.settings.longest_call_s

        async def look() -> Token | Ticket | Place:
            shown = kind.look(upgrade)
            if shown is not None:
                return shown
            return self._unknown.take(caller_of(websocket).address)

        try:
            shown = await reception.attend(websocket, look, checks_origin=False)
            if isinstance(shown, Place):
                await self._serve_unknown(kind, upgrade, websocket, shown)
                return
            async with reception.enter_call(websocket, shown, lasts_s) as entry:

                def enter(_opening: Opening) -> AbstractAsyncContextManager[Entry]:
                    return nullcontext(entry)

                await self._run(kind, upgrade, websocket, enter, is_known=True)
        except RefusedError as refused:  # once it was accepted, its close has told it
            if websocket.application_state is WebSocketState.CONNECTING:
                await websocket.send_denial_response(answer(refused.refusal))

    async def _serve_unknown(
        self, kind: BridgeKind, upgrade: Upgrade, websocket: WebSocket, place: Place
    ) -> None:
        """Who it is must come in the opening."""
        reception, own = self._stages.reception, self._stages.grants.get(kind.settings.name)

        @asynccontextmanager
        async def enter(opening: Opening) -> AsyncIterator[Entry]:
            async def look() -> Token | Ticket | Grant:
                return _shown_in(opening, own)

            shown = await reception.attend(websocket, look, checks_origin=False)
            lasts_s = kind.settings.longest_call_s
            async with reception.enter_call(websocket, shown, lasts_s) as entry:
                place.give_back()
                yield entry

        run = partial(self._run, kind, upgrade, websocket, enter, is_known=False)
        try:
            await reception.attend(websocket, run, checks_origin=False)
        finally:
            place.give_back()

    async def _run(
        self,
        kind: BridgeKind,
        upgrade: Upgrade,
        websocket: WebSocket,
        enter: Enter,
        *,
        is_known: bool,
    ) -> None:
        bridge = Bridge(
            kind.new_dialect(upgrade),
            kind.limits,
            time.monotonic(),
            is_known=is_known,
            end_of_speech_ms=kind.settings.end_of_speech_ms,
        )
        await websocket.accept(subprotocol=kind.subprotocol_of(upgrade))
        wire, named = _WebSocketWire(websocket), upgrade.parameter("call") or ""
        named_call = named if is_id(named) else None
        office = self._stages.office
        await Bridging(office, kind.settings, wire, bridge, enter, named_call).run()


def bridge_routes(stages: BridgeStages, kinds: Sequence[BridgeKind]) -> list[BaseRoute]:
    """A route for each."""
    bridges = _Bridges(stages)
    return [
        WebSocketRoute(f"/v1/bridges/{kind.settings.name}", partial(bridges.serve, kind))
        for kind in kinds
    ]


class _WebSocketWire:
    """See `server.bridging.Wire`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        """See `Wire`."""
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            code = message.get("code")
            if code == errors.MESSAGE_TOO_BIG.close_code:
                raise RefusedError(errors.MESSAGE_TOO_BIG)
            if code == _CLOSED_BY_NOBODY:
                raise ConnectionError
            return None
        text, data = message.get("text"), message.get("bytes")
        return text if isinstance(text, str) else bytes(data or b"")

    async def send(self, frame: str | bytes) -> None:
        """See `Wire`."""
        try:
            if isinstance(frame, str):
                await self._websocket.send_text(frame)
            else:
                await self._websocket.send_bytes(frame)
        except (WebSocketDisconnect, RuntimeError):
            raise ConnectionError from None

    async def close(self, code: int) -> None:
        """See `Wire`."""
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                await self._websocket.close(code)


def _shown_in(opening: Opening, own: Grant | None) -> Token | Ticket | Grant:
    """What it shows, or else what the bridge has of its own. Raises RefusedError."""
    if opening.token and opening.ticket:
        raise RefusedError(errors.UNAUTHENTICATED, "credentials_ambiguous")
    if opening.token:
        return Token(opening.token)
    if opening.ticket:
        return Ticket(opening.ticket)
    if own is None:
        raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
    return own
