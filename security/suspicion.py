"""Rows of the trail in, in their order; findings out: what looks as if something was tried.

`security.rules` lists what is looked for. Rules know no clock and nothing but the rows: the same
rows give the same findings, in the running server, after a restart and in a report. Each finding is
told once for its rule and whom it is about until its window is over, and once more if it has grown
to a reason to block the address. Only forged or guessed credentials block: tokens that were genuine
and are too old are what honest people behind one address show on a bad morning.

IPv6 addresses are taken by their /64: that is one customer, whose machines change the rest at will.
What is held is bounded for each key, subject and rule, and so is their number.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated

from annotated_types import Ge, Le

from security.audit import AuditRecord
from security.bursts import Burst, Bursts
from security.habits import HabitLimits, Habits
from security.rules import (
    ALTERED_PACK,
    GUESSED,
    LIMITS,
    MANY_ADDRESSES,
    NO_RIGHT,
    NOT_AUTHENTICATED,
    REPLAYED,
    RULES_BY_NAME,
    TOKEN_SHOWN,
    UNKNOWN_KEYS,
    WRONG_ORIGINS,
    Severity,
)

_NS = 10**9
_S_PER_HOUR = 3600
_MOST_KEYS = 10_000
"""Of each rule, and subjects whose habits are known."""
_IPV6_CUSTOMER_BITS = 64

_Count = Annotated[int, Ge(1), Le(1000)]
_Seconds = Annotated[int, Ge(1), Le(86_400)]


@dataclass(frozen=True, slots=True)
class SuspicionSettings:
    """How much is too much."""

    window_s: _Seconds = 300
    """In which refusals are counted."""
    failures_of_address: _Count = 5
    failures_to_block: _Count = 10
    """Of forged or guessed credentials; PCI DSS 8.3.4 allows no more than ten tries."""
    failures_of_subject: _Count = 5
    unknown_keys: _Count = 3
    wrong_origins: _Count = 3
    subjects_of_address: _Count = 5
    """Different subjects that were refused from one address."""
    limit_ends: _Count = 3
    """In an hour: sessions of a subject that a budget ended, or that were one too many."""
    token_elsewhere_s: _Seconds = 3600
    """In which one token may not be shown from two addresses."""
    habit_sessions: Annotated[int, Ge(10), Le(1000)] = 50
    """Of a subject, before anything is unusual."""
    habit_days: Annotated[int, Ge(2), Le(100)] = 7
    unusual_spreads: Annotated[float, Ge(1), Le(20)] = 4.0
    """How far above the mean, in standard deviations."""
    unusual_audio_s: int = 900
    """Less audio is never unusual."""
    block_s: int = 1800
    """How long an address is turned away; 0: never."""

    @property
    def is_blocking(self) -> bool:
        """Whether addresses are blocked."""
        return self.block_s > 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Events that together look like something was tried."""

    rule: str
    severity: Severity
    subject: str | None
    address: str | None
    seqs: tuple[int, ...]
    """Of the first of them."""
    first_utc_ns: int
    last_utc_ns: int
    n_events: int
    is_block: bool = False
    """Whether the address is to be turned away for a while."""


class Suspicion:
    """Of one trail."""

    def __init__(self, settings: SuspicionSettings, most_keys: int = _MOST_KEYS) -> None:
        self._settings = settings
        window_ns, hour_ns = settings.window_s * _NS, _S_PER_HOUR * _NS
        to_block = max(settings.failures_of_address, settings.failures_to_block)

        def bursts(*levels: int, long_ns: int = window_ns, counts_marks: bool = False) -> Bursts:
            return Bursts(levels, long_ns, most_keys, counts_marks)

        self._bursts = {
            "failures_of_address": bursts(settings.failures_of_address, to_block),
            "failures_of_subject": bursts(settings.failures_of_subject),
            "subjects_of_address": bursts(settings.subjects_of_address, counts_marks=True),
            "ticket_replayed": bursts(1),
            "unknown_keys": bursts(settings.unknown_keys),
            "wrong_origins": bursts(settings.wrong_origins),
            "limits_reached": bursts(settings.limit_ends, long_ns=hour_ns),
            "token_in_two_places": bursts(1, long_ns=settings.token_elsewhere_s * _NS),
            "many_addresses": bursts(1),
            "integrity": bursts(1),
            "gap": bursts(1),
        }
        self._shown: OrderedDict[str, tuple[str, int, int]] = OrderedDict()
        """By a token's hash: from where, when and in which row it was last shown."""
        self._most_keys = most_keys
        self._habits = Habits(
            HabitLimits(
                least_sessions=settings.habit_sessions,
                least_days=settings.habit_days,
                spreads=settings.unusual_spreads,
                least_audio_ms=settings.unusual_audio_s * 1000,
                most_subjects=most_keys,
            )
        )

    @property
    def n_held(self) -> int:
        """Keys, tokens and subjects that something is held of."""
        return sum(map(len, self._bursts.values())) + len(self._shown) + len(self._habits)

    def receive(self, record: AuditRecord) -> list[Finding]:
        """Take the next row of the trail."""
        findings: list[Finding | None] = []
        if record.event in TOKEN_SHOWN:
            findings.append(self._token_elsewhere(record))
        match record.event:
            case "handshake.refused" | "handshake.refused_often" | "session.refresh_refused":
                findings += self._refused(record)
            case "session.started":
                findings += self._started(record)
            case "session.ended":
                findings += self._ended(record)
            case "model.refused" | "trail.verified":
                findings.append(self._altered(record))
            case "trail.gap":
                findings.append(self._count("gap", record.reason or "", record, (1,)))
            case _:
                pass
        return [finding for finding in findings if finding]

    def _refused(self, record: AuditRecord) -> list[Finding | None]:
        reason, n = record.reason or "", _n_refused(record)
        guesses = n if reason in GUESSED and record.address else 0
        place = network_of(record.address or "")
        findings: list[Finding | None] = []
        if reason in NOT_AUTHENTICATED:
            findings.append(self._count("failures_of_address", place, record, (n, guesses)))
        if record.subject and reason in NOT_AUTHENTICATED | NO_RIGHT:
            findings.append(self._count("failures_of_subject", record.subject, record, (n,)))
            of_address = self._count(
                "subjects_of_address", place, record, (1,), mark=record.subject
            )
            findings.append(of_address)
        for rule, reasons in (
            ("ticket_replayed", {REPLAYED}),
            ("unknown_keys", UNKNOWN_KEYS),
            ("wrong_origins", WRONG_ORIGINS),
            ("many_addresses", {MANY_ADDRESSES}),
        ):
            if reason in reasons:
                findings.append(self._count(rule, place, record, (n,)))
        return [*findings, self._limited(record)]

    def _started(self, record: AuditRecord) -> list[Finding | None]:
        if record.subject and self._habits.is_hour_unusual(record.subject, record.at_utc_ns):
            return [_of_one("unusual_hour", record)]
        return []

    def _ended(self, record: AuditRecord) -> list[Finding | None]:
        findings = [self._limited(record)]
        if record.subject and record.audio_ms:
            audio = (record.subject, record.at_utc_ns, record.audio_ms)
            if self._habits.is_length_unusual(*audio):
                findings.append(_of_one("unusual_length", record))
            if self._habits.is_volume_unusual(*audio):
                findings.append(_of_one("unusual_volume", record))
        return findings

    def _limited(self, record: AuditRecord) -> Finding | None:
        if not record.subject or record.reason not in LIMITS:
            return None
        return self._count("limits_reached", record.subject, record, (_n_refused(record),))

    def _altered(self, record: AuditRecord) -> Finding | None:
        is_pack = record.event == "model.refused"
        if not (record.reason in ALTERED_PACK if is_pack else record.outcome == "failure"):
            return None
        return self._count("integrity", f"{record.event} {record.reason or ''}", record, (1,))

    def _token_elsewhere(self, record: AuditRecord) -> Finding | None:
        token, place = record.token_hash, network_of(record.address or "")
        if not token or not place:
            return None
        former = self._shown.pop(token, None)
        self._shown[token] = (place, record.at_utc_ns, record.seq)
        if len(self._shown) > self._most_keys:
            self._shown.popitem(last=False)
        longest_ns = self._settings.token_elsewhere_s * _NS
        if former is None or former[0] == place or record.at_utc_ns - former[1] > longest_ns:
            return None
        burst = self._bursts["token_in_two_places"].add(token, record.at_utc_ns, record.seq, (1,))
        if burst is None:
            return None
        both = Burst(0, 2, (former[2], record.seq), former[1], record.at_utc_ns)
        return _finding("token_in_two_places", record, both)

    def _count(
        self,
        rule: str,
        key: str,
        record: AuditRecord,
        weights: Sequence[int],
        mark: str | None = None,
    ) -> Finding | None:
        burst = self._bursts[rule].add(key, record.at_utc_ns, record.seq, weights, mark)
        return _finding(rule, record, burst) if burst else None


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What stands for one peer: an IPv4 address, the /64 of an IPv6 one; else what was told."""
    try:
        if "/" in address:
            return str(ip_network(address, strict=False))
        parsed = ip_address(address.strip("[]"))
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), _IPV6_CUSTOMER_BITS), strict=False))


def _n_refused(record: AuditRecord) -> int:
    n_refused = record.detail.get("n_refused")
    return n_refused if isinstance(n_refused, int) and n_refused > 0 else 1


_ABOUT_SUBJECTS = frozenset(
    {"failures_of_subject", "token_in_two_places", "limits_reached", "ticket_replayed"}
)


def _finding(rule: str, record: AuditRecord, burst: Burst) -> Finding:
    return Finding(
        rule=rule,
        severity=RULES_BY_NAME[rule].severity,
        subject=record.subject if rule in _ABOUT_SUBJECTS else None,
        address=record.address or None,
        seqs=burst.seqs,
        first_utc_ns=burst.first_utc_ns,
        last_utc_ns=burst.last_utc_ns,
        n_events=burst.n_events,
        is_block=burst.level > 0,
    )


def _of_one(rule: str, record: AuditRecord) -> Finding:
    burst = Burst(0, 1, (record.seq,), record.at_utc_ns, record.at_utc_ns)
    severity = RULES_BY_NAME[rule].severity
    at_utc_ns = record.at_utc_ns
    return Finding(
        rule, severity, record.subject, record.address, burst.seqs, at_utc_ns, at_utc_ns, 1
    )
