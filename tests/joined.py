"""The reception and all that stands behind it, joined as the server joins it, in the hand."""

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.errors import AuditError
from security.tokens import TokenPolicy, TokenVerifier, mint_token
from server.admin import Office
from server.blocks import Blocks
from server.connection import ConnectionSettings
from server.door import Door
from server.forwarded import Networks
from server.grant import GrantSettings
from server.live import LiveSessions
from server.reception import Parts, Reception
from server.recorder import Recorder
from server.refusals import RefusalSettings
from server.revoking import Revoking
from server.session_values import SessionSettings
from server.subjects import MemorySubjects
from server.tickets import Tickets, TicketSettings
from tests.fakes import MODEL, FakeDetector
from tests.server.test_connection import FakeTranscriber

KEY = Ed25519PrivateKey.generate()
POLICY = TokenPolicy(issuer="earwitness", audience="earwitness")
NOW_S = 1_000_000.0


def bearer(**claims):
    given = {"subject": "alice", "scopes": {"transcribe"}, "lifetime_s": 600, "wall_s": NOW_S}
    return {"authorization": f"Bearer {mint_token(KEY, POLICY, **{**given, **claims})}"}


class Joined:
    """With a fake engine and detector, and a trail that is a list unless another is given."""

    def __init__(
        self,
        folder: Path,
        most_sessions: int = 10,
        transcriber: FakeTranscriber | None = None,
        session_settings: SessionSettings | None = None,
        trail: Recorder | None = None,
        connection_settings: ConnectionSettings | None = None,
    ) -> None:
        self.records, self.is_full, self.trail_fails = [], False, False
        self.wall_s = NOW_S
        self.keys_take_s = 0.0
        """For the door to wait for an issuer's keys."""
        self.blocks = Blocks(Networks(["192.0.2.0/24"]))
        subjects = MemorySubjects(time.monotonic, lambda: self.wall_s)
        self.live = LiveSessions(most_sessions, subjects)
        self.tickets = Tickets(TicketSettings())
        self.revoking = Revoking(folder / "revocations.ndjson", self.live, NOW_S)
        verifier = TokenVerifier.of_one(POLICY, KEY.public_key())

        async def verify(token, wall_s):
            self.wall_s += self.keys_take_s
            return verifier.verify(token, wall_s)

        door = Door(
            verify,
            frozenset({"http://testserver"}),
            GrantSettings(),
            self.tickets,
            self.revoking.is_revoked,
        )
        self.reception = Reception(
            Parts(
                door=door,
                live=self.live,
                subjects=subjects,
                transcriber=transcriber or FakeTranscriber(),
                is_engine_full=lambda: self.is_full,
                new_detector=FakeDetector,
                trail=trail or self,
                model=MODEL,
                session_settings=session_settings or SessionSettings(),
                connection_settings=connection_settings or ConnectionSettings(),
                refusal_settings=RefusalSettings(),
                blocks=self.blocks,
                wall_clock=lambda: self.wall_s,
            )
        )
        self.office = Office(
            self.reception, self.live, self.revoking, [POLICY], self, lambda: self.wall_s
        )

    async def record(self, event):
        if self.trail_fails:
            raise AuditError("disk full")
        self.records.append(event)
        return len(self.records)

    async def note(self, event):
        if not self.trail_fails:
            self.records.append(event)

    def records_of(self, *kinds):
        return [event for event in self.records if isinstance(event, kinds)]
