"""What administrators take back in, from commands and requests alike; its sessions ended out.

A revocation is in the file before it counts, and every server that reads the file ends the sessions
that live by what was revoked, within a fraction of a second.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import structlog

from security.audit_events import TokenRevoked
from security.errors import RevocationError
from security.revocation_file import RevocationFile, append_revocation
from security.revocations import (
    Revocation,
    RevocationReason,
    RevokedKey,
    RevokedSubject,
    RevokedToken,
)
from security.tokens import TokenPolicy
from server import errors
from server.grant import Grant
from server.live import LiveSessions

_log = structlog.get_logger()
POLL_S = 0.25


class Revoking:
    """Of one server."""

    def __init__(self, path: Path, live: LiveSessions, wall_s: float) -> None:
        """Raises RevocationError."""
        self._path = path
        self._live = live
        self._file = RevocationFile(path, wall_s)
        self._reader = ThreadPoolExecutor(1, "revocations")
        """A long list takes milliseconds; one of its own, which no upload keeps waiting."""
        self._looking = asyncio.Lock()
        """Whoever revokes is told of the sessions that end by it: no other look ends them first."""

    def is_revoked(self, grant: Grant) -> bool:
        """Whether what was granted counts no more."""
        return self._file.current.is_revoked(grant) is not None

    async def revoke(self, revocation: Revocation) -> int:
        """When it returns, it counts; says how many sessions end by it. Raises RevocationError."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            await loop.run_in_executor(self._reader, append_revocation, self._path, revocation)
            return await self._look()

    async def run(self) -> None:
        """Look at the file until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(POLL_S)
                async with self._looking:
                    await self._look()
        finally:
            self._reader.shutdown(wait=False)

    async def _look(self) -> int:
        try:
            if not await asyncio.get_running_loop().run_in_executor(self._reader, self._file.poll):
                return 0
        except RevocationError:
            _log.error("the list of revocations cannot be read; what is known of it counts")
        return self._live.end(
            lambda each: any(map(self.is_revoked, each.connection.grants)), errors.REVOKED
        )


def revocation_of(
    policy: TokenPolicy,
    wall_s: float,
    *,
    token_id: str | None = None,
    subject: str | None = None,
    key_id: str | None = None,
) -> Revocation:
    """By the one thing that is known of it; it is kept until no such token can live any more."""
    now_s = int(wall_s)
    until_s = now_s + policy.max_lifetime_s + 2 * policy.leeway_s
    if token_id is not None:
        return RevokedToken(policy.issuer, token_id, until_s)
    if subject is not None:
        return RevokedSubject(policy.issuer, subject, now_s, until_s)
    return RevokedKey(policy.issuer, key_id or "")


def policy_of(policies: Iterable[TokenPolicy], issuer: str | None) -> TokenPolicy | None:
    """That of an issuer; by default the first."""
    return next((each for each in policies if issuer in {None, each.issuer}), None)


def event_of(
    revocation: Revocation, by: str | None = None, peer_address: str | None = None
) -> TokenRevoked:
    """Its row of the trail; `by`: the administrator, where it was asked for over the network."""
    asked = partial(TokenRevoked, revocation.issuer, by=by, peer_address=peer_address)
    match revocation:
        case RevokedToken(token_id=token_id):
            return asked(RevocationReason.TOKEN, token_id=token_id)
        case RevokedSubject(subject=subject):
            return asked(RevocationReason.SUBJECT, subject=subject)
        case RevokedKey(key_id=key_id):
            return asked(RevocationReason.KEY, key_id=key_id)
