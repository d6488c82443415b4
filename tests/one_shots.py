"""The door and the sessions behind `rest_routes`, as the application joins them, without the rest
of it.
"""

import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from security.audit import HandshakeRefused
from server.connection import Connection, ConnectionSettings
from server.door import Door
from server.errors import RefusedError
from server.live import LiveSessions
from server.recognition import ModelCard
from server.session import Caller, Session, SessionSettings


@dataclass
class JoinedOneShots:
    """Real sessions on real connections."""

    door: Door
    live: LiveSessions
    transcriber: object
    new_detector: object
    record: object
    model: ModelCard
    wall_clock: object
    session_settings: SessionSettings = field(default_factory=SessionSettings)

    @asynccontextmanager
    async def enter(self, request):
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        try:
            grant = self.door.admit(headers, (), self.wall_clock())
            with self.live.place(grant):
                yield partial(self._run, grant, time.monotonic())
        except RefusedError as refused:
            refusal = HandshakeRefused(
                peer_address="",
                origin=None,
                user_agent=None,
                http_status=refused.refusal.http_status,
                reason=refused.reason,
                subject=None,
                token_id=None,
            )
            await self.record(refusal)
            raise

    async def _run(self, grant, entered_s, socket):
        now_s = time.monotonic()  # the upload has taken its time, of which the token knows nothing
        grant = replace(grant, expires_in_s=grant.expires_in_s - (now_s - entered_s))
        session = Session(
            session_id=secrets.token_hex(12),
            model=self.model,
            grant=grant,
            caller=Caller("", None, None),
            settings=self.session_settings,
            now_s=now_s,
        )
        connection = Connection(
            socket,
            session,
            detector=self.new_detector(),
            transcriber=self.transcriber,
            record=self.record,
            settings=ConnectionSettings(),
            clock=time.monotonic,
        )
        with self.live.running(connection):
            await connection.run()
