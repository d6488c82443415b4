"""The stages of a server in, what its dashboard tells of them out.

Reports are added up once for all who ask within seconds. What the trail knows of the model and of
its own gaps is read from the trail; files of keys are looked at beside the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from security.audit import AuditRecord
from security.audit_query import TrailFilter
from security.report import Report
from server.blocks import Blocks
from server.feed import FeedSettings
from server.grant import Grant
from server.live import LiveSessions
from server.reception import Reception
from server.recorder import Recorder
from server.shown import Json, quotas_shown, report_shown, totals_shown
from server.subjects import DAY_S

_NS = 1_000_000_000
_NS_PER_MS = 1_000_000
_HOUR_NS = 3600 * _NS
_FRESH_S = 5.0
_FRESH_FORMER_S = 60.0
_DAY_HOURS = 24
_MOST_KEPT = 8
_MOST_GAPS = 1000
_MOST_QUOTAS = 50
_GAPS = TrailFilter(event=("trail.gap",))
_OPENED = TrailFilter(event=("model.opened",))


class Rows(Protocol):
    """The trail, read."""

    async def records(
        self,
        wanted: TrailFilter = ...,
        *,
        limit: int = ...,
        before_seq: int | None = ...,
        after_seq: int | None = ...,
    ) -> list[AuditRecord]:
        """See `TrailReader`."""

    async def record(self, seq: int) -> AuditRecord | None:
        """See `TrailReader`."""

    def batches(
        self, wanted: TrailFilter = ..., *, after_seq: int = ...
    ) -> AsyncIterator[list[AuditRecord]]:
        """See `TrailReader`."""

    async def audio_ms_since(self, at_utc_ns: int) -> dict[tuple[str, str], int]:
        """See `TrailReader`."""


class Signed(Protocol):
    """A checkpoint."""

    @property
    def n_rows(self) -> int:
        """That it stands for."""

    @property
    def at_utc_ns(self) -> int:
        """When it was made."""


class Trail(Protocol):
    """The trail, written: how that goes."""

    @property
    def newest_seq(self) -> int:
        """Of the last row."""

    @property
    def newest_checkpoint(self) -> Signed | None:
        """The last one."""

    @property
    def n_lost(self) -> int:
        """Events that were not written."""

    @property
    def is_failing(self) -> bool:
        """Whether the last commit failed."""

    @property
    def write_lag_s(self) -> float:
        """How long the oldest waits."""

    async def until_beyond(self, seq: int) -> int:
        """The newest number, once it is larger."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How soon something comes."""

    name: str
    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class KeysSeen:
    """What the files of keys and of the pack say."""

    is_auditor_key_here: bool
    n_segments: int
    slots: tuple[str, ...] | None
    """Names of the keys that open the pack; None: the pack cannot be read."""
    signing_key_id: str | None
    signing_since_s: float | None
    """Unix time; of the key that signs tokens."""


class _Kept:
    """What takes a while to add up, for all who ask before it is old; one at a time."""

    def __init__(self, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._turn = asyncio.Lock()
        self._made: dict[int, tuple[float, Json]] = {}
        """By hours: when, and what."""

    async def of(
        self, hours: int, clock: Callable[[], float], make: Callable[[int], Awaitable[Json]]
    ) -> Json:
        """What was made a moment ago, or a new one; what is long may be older."""
        async with self._turn:
            made = self._made.get(hours)
            fresh_s = self._fresh_s * max(1.0, hours / _DAY_HOURS)
            if made is None or clock() - made[0] >= fresh_s:
                body = await make(hours)
                self._made.pop(hours, None)
                self._made[hours] = made = (clock(), body)
                if len(self._made) > _MOST_KEPT:
                    del self._made[next(iter(self._made))]
            return made[1]


@dataclass(slots=True)
class Overview:
    """All that the dashboard asks."""

    reception: Reception
    live: LiveSessions
    blocks: Blocks
    log: Recorder
    trail: Trail
    rows: Rows
    make_report: Callable[[int, int], Awaitable[Report]]
    """Since and until when, UTC in ns."""
    look_at_keys: Callable[[], KeysSeen]
    """Blocks; raises nothing."""
    is_revoked: Callable[[Grant], bool]
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    default_audio_s_per_day: int | None = None
    """What a token gets that says nothing."""
    figures: Callable[[], Sequence[Latency]] | None = None
    feed: FeedSettings = field(default_factory=FeedSettings)
    _reports: _Kept = field(default_factory=lambda: _Kept(_FRESH_S))
    _formers: _Kept = field(default_factory=lambda: _Kept(_FRESH_FORMER_S))

    def latencies(self) -> list[Json] | None:
        """None where nobody measures."""
        if self.figures is None:
            return None
        return [
            {"name": o.name, "n": o.n, "p50_ms": o.p50_ms, "p95_ms": o.p95_ms, "p99_ms": o.p99_ms}
            for o in self.figures()
        ]

    def blocked(self) -> list[Json]:
        """Addresses that are turned away, and until when."""
        return [
            {"address": block.address, "until_ms": int(block.until_s * 1000)}
            for block in self.blocks.blocked(self.wall_clock())
        ]

    async def report(self, hours: int) -> Json:
        """Of the last hours. Raises AuditError."""
        return await self._reports.of(hours, self.clock, self._new_report)

    async def former(self, hours: int) -> Json:
        """The totals of as many hours before: not with the report, which is waited for. Raises
        AuditError.
        """
        return await self._formers.of(hours, self.clock, self._new_former)

    async def state(self) -> Json:
        """How the trail, the model and the keys are. Raises AuditError."""
        keys = await asyncio.to_thread(self.look_at_keys)
        gaps = await self.rows.records(_GAPS, limit=_MOST_GAPS)
        opened = await self.rows.records(_OPENED, limit=1)
        trail, signed = self.trail, self.trail.newest_checkpoint
        checkpoint = signed and {
            "size": signed.n_rows,
            "at_ms": signed.at_utc_ns // _NS_PER_MS,
        }
        chain: Json = {
            "newest_seq": trail.newest_seq,
            "checkpoint": checkpoint,
            "segments": keys.n_segments,
            "n_lost": trail.n_lost,
            "gaps": len(gaps),
            "is_failing": trail.is_failing,
            "write_lag_ms": round(trail.write_lag_s * 1000, 1),
            "is_auditor_key_here": keys.is_auditor_key_here,
        }
        shown = {"chain": chain, "keys": _keys_shown(keys, opened[-1] if opened else None)}
        return {"at_ms": int(self.wall_clock() * 1000), **shown}

    async def quotas(self) -> Sequence[Json]:
        """Audio of today by subject: of sessions that have ended. Raises AuditError."""
        midnight_s = int(self.wall_clock() // DAY_S) * DAY_S
        spent_ms = await self.rows.audio_ms_since(midnight_s * _NS)
        grants = [session.connection.grant for session in self.live.sessions]
        most_s = {(g.issuer, g.subject): g.limits.audio_s_per_day for g in grants}
        return quotas_shown(spent_ms, most_s, self.default_audio_s_per_day, _MOST_QUOTAS)

    async def _new_report(self, hours: int) -> Json:
        until_ns = int(self.wall_clock() * _NS)
        report = await self.make_report(until_ns - hours * _HOUR_NS, until_ns)
        blocked = {block.address for block in self.blocks.blocked(self.wall_clock())}
        return report_shown(report, blocked)

    async def _new_former(self, hours: int) -> Json:
        until_ns = int(self.wall_clock() * _NS) - hours * _HOUR_NS
        return totals_shown(await self.make_report(until_ns - hours * _HOUR_NS, until_ns))


def _keys_shown(keys: KeysSeen, opened: AuditRecord | None) -> Json:
    model = opened.detail if opened else {}
    since_s = keys.signing_since_s
    return {
        "model": model.get("model"),
        "pack_version": model.get("pack_version"),
        "publisher": model.get("publisher"),
        "kek": model.get("kek"),
        "opened_at_ms": opened and opened.at_utc_ns // _NS_PER_MS,
        "slots": keys.slots,
        "signing_key_id": keys.signing_key_id,
        "signing_at_ms": None if since_s is None else int(since_s * 1000),
    }
