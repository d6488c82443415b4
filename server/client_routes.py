"""The handshakes of clients of other people's APIs in; sessions that speak as they expect, out.

The key that such a client was given is a token, or a ticket where a token may not come: what has no
dots is a ticket, and `ek_` before it is no part of it. Who is refused is told so in the shape of
the API's own errors, before anything is accepted, as is who asks for what is not done here; whether
something is done here is told only to who may come in.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from server import errors
from server.bridge_credentials import MOST_CREDENTIAL_CHARS, credential_of
from server.client_apis import new_id
from server.client_settings import ClientSettings
from server.dialects.translation import Answer, ClientApi, DeclinedError, Host
from server.dialects.values import Upgrade
from server.door import Knock, Read, Ticket, Token
from server.errors import RefusedError
from server.long_messages import allow_messages
from server.reception import Reception
from server.tickets import TEXT_TICKET_CHARS
from server.translating import Translator
from server.visitor import upgrade_of

EPHEMERAL_PREFIX = "ek_"
"""Of a key that is a ticket."""


class _Clients:
    """Of one server."""

    def __init__(
        self, reception: Reception, wall_clock: Callable[[], float], settings: ClientSettings
    ) -> None:
        self._reception = reception
        self._wall_clock = wall_clock
        self._settings = settings

    async def serve(self, api: ClientApi, websocket: WebSocket) -> None:
        """One connection, to its end."""
        upgrade = upgrade_of(websocket)

        def read(_knock: Knock | None = None) -> Token | Ticket:
            keys, may_be = api.keys(upgrade), self._settings.token_in_address
            return read_key(upgrade, keys, token_in_address=may_be)

        host = Host(self._reception.model, new_id, self._wall_clock(), self._carried_by(read))
        try:
            try:
                dialect = api.new_dialect(upgrade, host)
            except DeclinedError as declined:
                await self._decline(websocket, read)
                await websocket.send_denial_response(response_of(declined.answer))
                return
            quiet_limit_s = self._settings.quiet_limit_s if api.may_be_quiet else 0.0
            async with self._reception.enter(websocket, read, quiet_limit_s=quiet_limit_s) as run:
                headers = [(n.encode(), v.encode()) for n, v in api.headers(dialect)]
                state = websocket.scope.setdefault("state", {})
                allow_messages(state, self._settings.frame_bytes)
                await websocket.accept(api.subprotocol(upgrade), headers)
                await run(Translator(websocket, dialect))
        except RefusedError as refused:
            await websocket.send_denial_response(response_of(api.refuse(refused.refusal)))

    def _carried_by(self, read: Callable[[], Token | Ticket]) -> object:
        """What comes with the ticket, if one is shown: who has none to show is told at the door."""
        with suppress(RefusedError):
            return self._reception.carried_by(read())
        return None

    async def _decline(self, websocket: WebSocket, read: Read) -> None:
        """On record, of somebody who may come in. Raises RefusedError for who may not."""
        grant = await self._reception.admit(websocket, read=read)

        async def refuse() -> None:
            raise RefusedError(errors.BAD_REQUEST, "option_unsupported")

        try:
            await self._reception.attend(websocket, refuse, grant)
        except RefusedError as refused:
            if refused.refusal is not errors.BAD_REQUEST:
                raise


def client_routes(
    apis: Sequence[ClientApi],
    reception: Reception,
    wall_clock: Callable[[], float],
    settings: ClientSettings,
) -> list[BaseRoute]:
    """A route for each path."""
    clients = _Clients(reception, wall_clock, settings)
    return [WebSocketRoute(path, partial(clients.serve, api)) for api in apis for path in api.paths]


def read_key(upgrade: Upgrade, keys: Sequence[str], *, token_in_address: bool) -> Token | Ticket:
    """The only one that is shown, in the usual places or as one of `keys`. Raises RefusedError."""
    usual = credential_of(upgrade, may_be_in_address=token_in_address)
    shown = {usual.text: usual} if usual else {}
    shown |= {key: Token(key) for key in keys}
    if len(shown) > 1:
        raise RefusedError(errors.UNAUTHENTICATED, "credentials_ambiguous")
    if not shown:
        raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
    [(text, credential)] = shown.items()
    if not 0 < len(text) <= MOST_CREDENTIAL_CHARS:
        raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
    if isinstance(credential, Ticket) or "." in text:
        return credential
    is_bare = len(text) == TEXT_TICKET_CHARS  # which may begin so by chance
    return Ticket(text if is_bare else text.removeprefix(EPHEMERAL_PREFIX))


def response_of(answer: Answer) -> Response:
    """For starlette."""
    return Response(answer.body, answer.status, dict(answer.headers), media_type=answer.media_type)
