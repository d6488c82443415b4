"""The settings of telephone systems in; the routes for them, and for those who follow their calls,
out.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from security.errors import KeyFileError
from security.pseudonyms import open_pseudonyms
from security.tokens import Claims
from server.audiosocket_port import AudioSocketPort
from server.bridge_kinds import open_kind
from server.bridge_routes import BridgeStages, bridge_routes
from server.bridging import CallOffice
from server.call_routes import CallStages, call_routes
from server.call_tickets import call_ticket_routes
from server.calls import Calls
from server.config import Settings
from server.door import Door
from server.grant import TRANSCRIBE_SCOPE, Grant, grant_from_claims
from server.listener import bind_port
from server.live import LiveSessions
from server.reception import Reception
from server.recorder import Recorder
from server.start_error import EXIT_KEYS, StartError

_GRANT_S = 86_400
"""No call is longer."""


@dataclass(frozen=True, slots=True)
class Telephony:
    """What answers telephone systems and those who follow calls."""

    routes: Sequence[BaseRoute]
    works: Sequence[Callable[[], Coroutine[None, None, None]]]
    """To be run as long as the server runs."""
    drain: Callable[[float], Coroutine[None, None, None]]
    """Once its sessions have ended: until those who follow calls have been told, or so long."""


def join_telephony(
    settings: Settings,
    reception: Reception,
    door: Door,
    live: LiveSessions,
    trail: Recorder,
    wall_clock: Callable[[], float],
) -> Telephony:
    """Raises StartError."""
    began_ms = int(wall_clock() * 1000)  # more than any process before has told of one call
    calls = Calls(settings.calls, time.monotonic, lambda: live.is_stopping, began_ms)
    routes: list[BaseRoute] = [
        *call_ticket_routes(reception),
        *call_routes(CallStages(reception, calls, trail, door.is_revoked)),
    ]
    heard = settings.audiosocket
    if not settings.bridges and not heard.port:
        return Telephony(routes, [calls.run], calls.drain)
    try:
        pseudonyms = open_pseudonyms(settings.pseudonyms_key_file)
        kinds = [open_kind(bridge, wall_clock) for bridge in settings.bridges]
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None
    office = CallOffice(calls, trail, pseudonyms, reception.model.languages)
    stages = BridgeStages(reception, office, _grants(settings, wall_clock()))
    routes += bridge_routes(stages, kinds)
    if not heard.port:
        return Telephony(routes, [calls.run], calls.drain)
    bound = bind_port(heard.host, heard.port, "audiosocket.port")
    port = AudioSocketPort(bound, heard, reception, office)
    return Telephony(routes, [calls.run, port.run], calls.drain)


def _grants(settings: Settings, wall_s: float) -> dict[str, Grant]:
    """Of bridges whose vendor's signature is enough, by name; a restart makes them anew, and who
    revokes the subject ends them until then.
    """
    issuer = settings.token_policy.issuer
    claims = {
        bridge.name: Claims(
            issuer=issuer,
            subject=bridge.subject,
            token_id=f"bridge:{bridge.name}",
            key_id="",
            issued_at_s=int(wall_s),
            expires_at_s=int(wall_s) + _GRANT_S,
            scopes=frozenset({TRANSCRIBE_SCOPE}),
        )
        for bridge in settings.bridges
        if bridge.subject is not None
    }
    return {name: grant_from_claims(each, settings.grants, wall_s) for name, each in claims.items()}
