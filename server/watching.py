"""The trail as it grows in; findings on record and blocked addresses out.

One task follows the trail a few times a second, rows of the watched events alone, so that it also
sees what commands write beside the server. What it finds is noted in the trail, and an address that
guesses credentials is turned away for a while.

At a start the rules first go through the rows of the last weeks, or they would know nobody's habits
and nothing of an attack that goes on. What that finds and is on record is not noted again; what is
missing, because the server was killed between an event and its finding, is noted late. Blocks that
would still hold are put back, unless an administrator has taken them away.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from security.audit import AuditRecord
from security.audit_events import AuditEvent
from security.audit_query import TrailFilter
from security.door_events import AddressBlocked, SuspicionFound
from security.errors import AuditError
from security.rules import WATCHED_EVENTS
from security.suspicion import Finding, Suspicion, SuspicionSettings, network_of

PAUSE_S = 0.25
WARM_UP_HOURS = 30 * 24
WARM_UP_ROWS = 200_000
"""Of all events; a busier server knows habits of fewer days."""
_MOST_ROWS = 500
_ROWS_A_TURN = 100
_RETRY_PAUSES = 4
_NS = 10**9
_LATE_NS = 86_400 * _NS
"""Older findings that are missing are not made up for: other rules were in force."""
_SLACK_NS = 3600 * _NS
"""Between a finding and the same one made again: the longest window."""
_FOUND, _BLOCKED, _UNBLOCKED = "suspicion.found", "address.blocked", "address.unblocked"

_log = structlog.get_logger()


class Trail(Protocol):
    """Where events are noted."""

    async def note(self, event: AuditEvent) -> None:
        """Take what has happened."""

    async def until_beyond(self, seq: int) -> int:
        """The newest number, once it is larger."""


class Rows(Protocol):
    """Where they are read."""

    async def newest_seq(self) -> int:
        """Of the last row."""

    async def records(
        self,
        wanted: TrailFilter = ...,
        *,
        limit: int = ...,
        before_seq: int | None = ...,
        after_seq: int | None = ...,
    ) -> list[AuditRecord]:
        """The oldest ones after a number."""

    def batches(
        self, wanted: TrailFilter = ..., *, after_seq: int = ...
    ) -> AsyncIterator[list[AuditRecord]]:
        """All there are by now."""


class Blocker(Protocol):
    """Who is turned away."""

    def block(self, address: str, until_s: float) -> bool:
        """Until a Unix time; False for whom nobody blocks."""


class Watching:
    """Of one server."""

    def __init__(
        self,
        trail: Trail,
        rows: Rows,
        blocks: Blocker,
        settings: SuspicionSettings,
        wall_clock: Callable[[], float],
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._trail = trail
        self._rows = rows
        self._blocks = blocks
        self._settings = settings
        self._wall_clock = wall_clock
        self._pause_s = pause_s
        self._suspicion = Suspicion(settings)
        self._seq = 0
        self._is_failing = False

    @property
    def seq(self) -> int:
        """Of the last row that the rules have seen."""
        return self._seq

    async def run(self) -> None:
        """Follow the trail until cancelled."""
        while not await self._tried(self._warm_up):
            self._suspicion = Suspicion(self._settings)
        while True:
            await self._tried(self._follow)
            await asyncio.sleep(self._pause_s)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether the trail could be read; it is told once when it cannot."""
        try:
            await work()
        except AuditError:
            if not self._is_failing:
                _log.error("the trail cannot be read: nobody watches for suspicious events")
            self._is_failing = True
            await asyncio.sleep(_RETRY_PAUSES * self._pause_s)
            return False
        self._is_failing = False
        return True

    async def _follow(self) -> None:
        """What comes next, once it is there."""
        await self._trail.until_beyond(self._seq)
        newest_seq = await self._rows.newest_seq()
        while self._seq < newest_seq:
            records = await self._rows.records(
                TrailFilter(WATCHED_EVENTS),
                limit=_MOST_ROWS,
                after_seq=self._seq,
                before_seq=newest_seq + 1,
            )
            for finding in await self._received(records):
                await self._note(finding)
            self._seq = newest_seq if len(records) < _MOST_ROWS else records[-1].seq

    async def _warm_up(self) -> None:
        now_ns = int(self._wall_clock() * _NS)
        newest_seq = await self._rows.newest_seq()
        wanted = TrailFilter(
            (*WATCHED_EVENTS, _FOUND, _BLOCKED, _UNBLOCKED),
            since_utc_ns=now_ns - WARM_UP_HOURS * 3600 * _NS,
        )
        past = _Past()
        findings: list[Finding] = []
        async for records in self._rows.batches(
            wanted, after_seq=max(0, newest_seq - WARM_UP_ROWS)
        ):
            past.receive(records)
            found = await self._received(records)
            findings += [each for each in found if each.last_utc_ns > now_ns - _LATE_NS]
            newest_seq = max(newest_seq, records[-1].seq)
        for address, until_s in past.until_s.items():
            self._block(address, until_s)
        for finding in findings:
            if not past.has(finding):
                await self._note(finding)
        self._seq = newest_seq

    async def _received(self, records: Sequence[AuditRecord]) -> list[Finding]:
        findings = []
        for at in range(0, len(records), _ROWS_A_TURN):
            for record in records[at : at + _ROWS_A_TURN]:
                findings += self._suspicion.receive(record)
            await asyncio.sleep(0)
        return findings

    async def _note(self, finding: Finding) -> None:
        found = SuspicionFound(
            rule=finding.rule,
            severity=finding.severity,
            subject=finding.subject,
            peer_address=finding.address,
            n_events=finding.n_events,
            seqs=" ".join(map(str, finding.seqs)),
            level=2 if finding.is_block else 1,
        )
        await self._trail.note(found)
        if not finding.is_block or not finding.address:
            return
        until_s = finding.last_utc_ns / _NS + self._settings.block_s
        if self._block(finding.address, until_s):
            event = AddressBlocked(finding.address, self._settings.block_s, finding.rule)
            await self._trail.note(event)

    def _block(self, address: str, until_s: float) -> bool:
        if not self._settings.is_blocking or until_s <= self._wall_clock():
            return False
        return self._blocks.block(address.partition("/")[0], until_s)


class _Past:
    """What the trail says of former findings and blocks."""

    def __init__(self) -> None:
        self._told_utc_ns: dict[tuple[str, str | None, str], list[int]] = {}
        self.until_s: dict[str, float] = {}
        """Of each blocked address, as Unix time."""

    def receive(self, records: Sequence[AuditRecord]) -> None:
        for record in records:
            address = network_of(record.address or "")
            if record.event == _FOUND:
                key = (str(record.detail.get("rule")), record.subject, address)
                self._told_utc_ns.setdefault(key, []).append(record.at_utc_ns)
            elif record.event == _BLOCKED:
                block_s = record.detail.get("block_s")
                self.until_s[address] = record.at_utc_ns / _NS + int(block_s or 0)
            elif record.event == _UNBLOCKED:
                self.until_s.pop(address, None)

    def has(self, finding: Finding) -> bool:
        key = (finding.rule, finding.subject, network_of(finding.address or ""))
        return any(
            finding.first_utc_ns - _SLACK_NS <= told_ns <= finding.last_utc_ns + _SLACK_NS
            for told_ns in self._told_utc_ns.get(key, [])
        )
