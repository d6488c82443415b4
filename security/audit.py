"""An event in, one row of the trail out: who, from where, which session, how it ended, never what
was said.

Strings that a stranger chose (origin, browser, subject) are cut and stripped of control and
direction characters here, at the one point through which every event passes: a trail is read in
terminals and browsers, where such characters forge lines and hide text. A token's id becomes its
hash: the trail is read by more people than those who may revoke.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields

from security.audit_events import EVENT_NAMES, AuditEvent, outcome_of

MAX_TEXT_CHARS = 256
_LONG = {"changed": 4096}
"""Of our own names, which no stranger makes longer."""
_CUT_MARK = "…"
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _field(name: str) -> tuple[str, str, int]:
    if name.endswith("token_id"):
        return name, name.removesuffix("id") + "hash", 0
    stored = "address" if name == "peer_address" else name
    return name, stored, _LONG.get(name, MAX_TEXT_CHARS)


_FIELDS = {kind: tuple(_field(field.name) for field in fields(kind)) for kind in EVENT_NAMES}
"""Of each kind: what a field is called, what the row calls it, and how long it may be; 0: it is a
token's id. Worked out once: a door that is knocked at makes thousands of rows a second."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An event as it is stored: columns for what is asked for, the rest as JSON."""

    event: str
    outcome: str
    """`success` or `failure`."""
    session_id: str | None
    subject: str | None
    token_hash: str | None
    """Names the token, see `token_hash_of`."""
    address: str | None
    reason: str | None
    audio_ms: int | None
    bytes_received: int | None
    detail: str
    """A JSON object of strings, integers and nulls, with sorted keys, in ASCII."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event as the trail holds it; the columns are those of `AuditRow`."""

    seq: int
    """Counts up from 1 without gaps."""
    at_utc_ns: int
    event: str
    outcome: str
    session_id: str | None
    subject: str | None
    token_hash: str | None
    address: str | None
    reason: str | None
    audio_ms: int | None
    bytes_received: int | None
    detail: Mapping[str, str | int | None]


def row_of(event: AuditEvent) -> AuditRow:
    """The row of an event, its strings cleaned."""
    told: dict[str, str | int | None] = {}
    for attribute, name, most_chars in _FIELDS[type(event)]:
        value = getattr(event, attribute)
        if isinstance(value, str):
            value = clean(value, most_chars) if most_chars else token_hash_of(value)
        told[name] = value
    take = told.pop
    return AuditRow(
        event=EVENT_NAMES[type(event)],
        outcome=outcome_of(event),
        session_id=_text(take("session_id", None)),
        subject=_text(take("subject", None)),
        token_hash=_text(take("token_hash", None)),
        address=_text(take("address", None)),
        reason=_text(take("reason", None)),
        audio_ms=_count(take("audio_ms", None)),
        bytes_received=_count(take("bytes_received", None)),
        detail=_encode(told),
    )


def _text(value: str | int | None) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: str | int | None) -> int | None:
    return value if isinstance(value, int) else None


def token_hash_of(token_id: str) -> str:
    """What the trail calls a token: the first 128 bits of the SHA-256 of its `jti`, in hex."""
    return hashlib.sha256(token_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def clean(text: str, most_chars: int = MAX_TEXT_CHARS) -> str:
    """Without control, direction and other invisible characters, cut to `most_chars`."""
    if len(text) <= most_chars and text.isprintable():  # nearly all are, and it is told fast
        return text
    head = text[: 2 * most_chars]  # a stranger's megabyte is not looked through
    visible = "".join(filter(_is_visible, head))
    if len(visible) <= most_chars and len(head) == len(text):
        return visible
    return visible[: most_chars - 1] + _CUT_MARK


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    return not category.startswith("C") and category not in {"Zl", "Zp"}
