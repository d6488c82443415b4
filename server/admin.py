"""Requests of administrators in, what lives now and what was ended out: `/admin/…`, scope `admin`.

    GET    /admin/sessions         who is connected, from where, since when
    DELETE /admin/sessions/{id}    end one, with its last finals
    POST   /admin/revocations      a token, a subject or a key is good no more; its sessions end

Each is on record before it is done, with who did it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from security.audit import AuditEvent, SessionEndedByAdministrator, TokenRevoked
from security.revocations import Revocation
from server import errors
from server.errors import RefusedError
from server.grant import Grant
from server.live import LiveSession, LiveSessions

MOST_BODY_BYTES = 4096
Admitted = Callable[[Request], Awaitable[Grant]]
"""The grant of an administrator; raises RefusedError, which is on record by then."""


@dataclass(frozen=True, slots=True)
class Office:
    """What an administrator can do something with."""

    admit: Admitted
    live: LiveSessions
    revoke: Callable[[Revocation], Awaitable[int]]
    """Makes it durable and ends its sessions; says how many."""
    record: Callable[[AuditEvent], Awaitable[object]]
