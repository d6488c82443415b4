"""Rows in, the same rows as they will stand in the trail out: numbered, bound to all before them.

What one commit writes is computed here, before anything is written, and the rows that the disk
holds are followed here, to see whether they are what the key of their epoch has bound.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from security.audit import AuditRow
from security.audit_chain import (
    ChainState,
    Column,
    canonical,
    extend,
    grow,
    leaf_hash,
    mac_of,
    next_key,
)
from security.secret import SecretBytes

StoredRow: TypeAlias = tuple[
    *tuple[int, int, int, str, str],
    *tuple[str | None, str | None, str | None, str | None, str | None],
    *tuple[int | None, int | None, str, bytes],
]
"""All columns of the table `events`."""
TimedRow: TypeAlias = tuple[int, AuditRow]
"""When it happened, UTC in ns, and what."""


@dataclass(frozen=True, slots=True)
class ChainKey:
    """Binds the rows of the running epoch."""

    trail_id: str
    """16 hex digits."""
    epoch: int
    after_seq: int
    """Rows before this epoch; fewer in the trail: it is an old one."""
    key: SecretBytes

    def next(self, after_seq: int) -> "ChainKey":
        """Of the epoch that begins behind that row."""
        key = SecretBytes(bytearray(next_key(self.key.expose())))
        return ChainKey(self.trail_id, self.epoch + 1, after_seq, key)


@dataclass(frozen=True, slots=True)
class Step:
    """One commit."""

    first_seq: int
    rows: tuple[tuple[Column | bytes, ...], ...]
    """All columns of each."""
    chain: ChainState
    """Where the chain has got to then."""


def next_step(chain: ChainState, chain_key: ChainKey, rows: Sequence[TimedRow]) -> Step:
    """The commit of these rows."""
    first_seq = chain.size + 1
    epoch = chain_key.epoch
    columns: list[tuple[Column, ...]] = []
    for seq, (at_utc_ns, row) in enumerate(rows, first_seq):
        who = (row.session_id, row.subject, row.token_hash, row.address, row.reason)
        much = (row.audio_ms, row.bytes_received, row.detail)
        columns.append((seq, at_utc_ns, epoch, row.event, row.outcome, *who, *much))
    after, macs = extend(chain, [canonical(each) for each in columns], chain_key.key.expose())
    stored = tuple((*each, mac) for each, mac in zip(columns, macs, strict=True))
    return Step(first_seq, stored, after)


def follow(chain: ChainState, rows: Iterable[StoredRow], chain_key: ChainKey) -> ChainState | None:
    """The chain with rows that the disk holds behind it; None if they are not what the key has
    bound. Rows of former epochs are taken as they are: their keys are gone.
    """
    mac, leaves = chain.mac, []
    for seq, row in enumerate(rows, chain.size + 1):
        columns, row_mac = row[:-1], row[-1]
        leaves.append(leaf_hash(canonical(columns)))
        if columns[0] != seq:
            return None
        if seq > chain_key.after_seq:
            mac = mac_of(chain_key.key.expose(), mac, leaves[-1])
            if mac != row_mac or columns[2] != chain_key.epoch:
                return None
        mac = row_mac
    return replace(grow(chain, leaves), mac=mac)
