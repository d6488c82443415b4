"""The settings of telephone systems in; the routes for them, and for those who follow their calls,
out.
"""

from collections.abc import Sequence

from starlette.routing import BaseRoute

from security.errors import KeyFileError
from security.pseudonyms import open_pseudonyms
from server.bridge_kinds import open_kind
from server.bridge_routes import BridgeStages, bridge_routes
from server.bridge_values import BridgeLimits
from server.bridging import CallOffice
from server.call_routes import CallStages, call_routes
from server.call_tickets import TicketStages, call_ticket_routes
from server.calls import Calls
from server.config import Settings
from server.door import Door
from server.reception import Reception
from server.recorder import Recorder
from server.start_error import EXIT_KEYS, StartError


def telephone_routes(
    settings: Settings, reception: Reception, door: Door, calls: Calls, trail: Recorder
) -> Sequence[BaseRoute]:
    """All of them. Raises StartError."""
    try:
        pseudonyms = open_pseudonyms(settings.pseudonyms_key_file)
        kinds = [open_kind(bridge) for bridge in settings.bridges]
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None
    office = CallOffice(calls, trail, pseudonyms, reception.model.languages)
    return [
        *call_ticket_routes(TicketStages(reception, door.tickets, trail)),
        *call_routes(CallStages(reception, calls, trail, door.is_revoked)),
        *bridge_routes(BridgeStages(reception, office, BridgeLimits()), kinds),
    ]
