"""The settings of telephone systems in; the routes for them, and for those who follow their calls,
out.
"""

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from security.errors import KeyFileError
from security.pseudonyms import open_pseudonyms
from security.tokens import Claims
from server.bridge_kinds import open_kind
from server.bridge_routes import BridgeStages, bridge_routes
from server.bridge_values import BridgeLimits
from server.bridging import CallOffice
from server.call_routes import CallStages, call_routes
from server.call_tickets import TicketStages, call_ticket_routes
from server.calls import Calls
from server.config import Settings
from server.door import Door
from server.grant import TRANSCRIBE_SCOPE, Grant, grant_from_claims
from server.reception import Reception
from server.recorder import Recorder
from server.start_error import EXIT_KEYS, StartError

_GRANT_S = 86_400
"""No call is longer."""


def telephone_routes(
    settings: Settings,
    reception: Reception,
    door: Door,
    calls: Calls,
    trail: Recorder,
    wall_clock: Callable[[], float],
) -> Sequence[BaseRoute]:
    """All of them. Raises StartError."""
    try:
        pseudonyms = open_pseudonyms(settings.pseudonyms_key_file)
        kinds = [open_kind(bridge, wall_clock) for bridge in settings.bridges]
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None
    grants = _grants(settings, wall_clock())
    office = CallOffice(calls, trail, pseudonyms, reception.model.languages)
    return [
        *call_ticket_routes(TicketStages(reception, door.tickets, trail)),
        *call_routes(CallStages(reception, calls, trail, door.is_revoked)),
        *bridge_routes(BridgeStages(reception, office, BridgeLimits(), grants), kinds),
    ]


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
