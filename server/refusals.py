"""Refusals in, rows of the trail out: one each at first, then one for many.

Who hammers at the door must not fill the trail's disk. Of one customer and reason a few refusals a
minute have rows of their own, and so have so many of all; what is beyond is counted, and becomes a
row when the minute is over. Beyond the bound of all, what has no count of its own yet is counted
together, as of many addresses: however many a stranger has, the rows of a minute are bounded, and
so is what is held. Every refusal is in one row or in one count. Knows no clock but the one handed
in; a minute begins with the first refusal in it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from security.door_events import HandshakeRefused, HandshakeRefusedOften
from server.crowd import customer_of

MINUTE_S = 60.0
MANY_ADDRESSES = "many_addresses"

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RefusalSettings:
    """How many refusals have rows of their own."""

    rows_per_minute: Annotated[int, Ge(1)] = 20
    """Of one address and reason."""
    most_rows_per_minute: Annotated[int, Ge(1)] = 600
    """Of all."""


@dataclass(slots=True)
class _Count:
    since_utc_ns: int
    n_refused: int = 0


class Tally:
    """Of one server; used from the event loop only."""

    def __init__(self, settings: RefusalSettings) -> None:
        self._settings = settings
        self._ends_s: float | None = None
        """Of the minute that runs."""
        self._n_rows = 0
        self._rows: Counter[_Key] = Counter()
        """By customer and reason."""
        self._counts: dict[_Key | None, _Count] = {}
        """Beyond the rows; None: of many addresses."""

    @property
    def next_deadline_s(self) -> float:
        """When `due` has something next."""
        return float("inf") if self._ends_s is None else self._ends_s

    def receive(
        self, refused: HandshakeRefused, now_s: float, at_utc_ns: int
    ) -> Sequence[HandshakeRefused | HandshakeRefusedOften]:
        """What has to be written now: what was due, and this one if it has a row of its own."""
        due = self.due(now_s)
        if self._ends_s is None:
            self._ends_s = now_s + MINUTE_S
        address = refused.peer_address
        key = (customer_of(address) if address else "", refused.reason)
        if self._rows[key] >= self._settings.rows_per_minute:
            self._count(key, at_utc_ns)
            return due
        if self._n_rows >= self._settings.most_rows_per_minute:
            self._count(None, at_utc_ns)
            return due
        self._rows[key] += 1
        self._n_rows += 1
        return [*due, refused]

    def due(self, now_s: float) -> Sequence[HandshakeRefusedOften]:
        """What was counted in a minute that is over."""
        return self.flush() if now_s >= self.next_deadline_s else []

    def flush(self) -> Sequence[HandshakeRefusedOften]:
        """All that was counted; another minute begins with the next refusal."""
        counts, self._counts = self._counts, {}
        self._rows.clear()
        self._n_rows, self._ends_s = 0, None
        return [_row(key, count) for key, count in counts.items()]

    def _count(self, key: _Key | None, at_utc_ns: int) -> None:
        self._counts.setdefault(key, _Count(at_utc_ns)).n_refused += 1


def _row(key: _Key | None, count: _Count) -> HandshakeRefusedOften:
    address, reason = (None, MANY_ADDRESSES) if key is None else (key[0] or None, key[1])
    return HandshakeRefusedOften(address, reason, count.n_refused, count.since_utc_ns)
