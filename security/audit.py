"""What happened in, one row of the trail out: who, when from, which session, how it ended, never
what was said.

Each kind of event is a class with only the fields it may hold, so that words, tokens and keys have
no place to go; adding a field means adding it to the allow-list of the tests. Strings that a
stranger chose (address, origin, browser, subject) are cut and stripped of control and direction
characters here, at the one point through which every event passes: a trail is read in terminals
and browsers, where such characters forge lines and hide text.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass

MAX_TEXT_CHARS = 256
COLUMNS = (
    *("session_id", "subject", "token_hash", "address", "reason"),
    *("audio_ms", "bytes_received"),
)
"""Fields that are columns of their own, because they are asked for."""
_CUT_MARK = "…"


@dataclass(frozen=True, slots=True)
class ServerStarted:
    """The server is ready."""

    version: str


@dataclass(frozen=True, slots=True)
class ServerStopped:
    """The server ends; without this row before the next start, it was killed."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModelOpened:
    """A pack was verified and its model is in use."""

    model: str
    pack_version: int
    publisher: str
    """Fingerprint of the key that signed the pack."""
    kek: str
    """Which key opened it; names the key and is none."""


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """A pack did not open."""

    pack: str
    """Name of its folder."""
    reason: str


@dataclass(frozen=True, slots=True)
class EngineRestarted:
    """The engine hung, or its thread died: its model is opened again."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class OlderModelAllowed:
    """An administrator let a version open that is older than one opened before."""

    model: str
    pack_version: int
    former_version: int


@dataclass(frozen=True, slots=True)
class PackSealed:
    """A pack was made."""

    pack: str
    model: str
    pack_version: int


@dataclass(frozen=True, slots=True)
class KeySlotsChanged:
    """Another set of keys opens a pack."""

    pack: str
    change: str
    """`added`, `dropped` or `rotated`."""
    kek: str
    """The key that was added or dropped, or that came in the place of the former one."""
    former_kek: str | None = None


@dataclass(frozen=True, slots=True)
class TokenMinted:
    """An administrator made a token."""

    subject: str
    issuer: str
    token_id: str
    scopes: str
    """As in the token: names with a space between."""
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """A token, a subject's tokens so far, or all of a key count no more."""

    issuer: str
    reason: str
    """What was revoked: `revoked_token`, `revoked_subject` or `revoked_key`."""
    token_id: str | None = None
    subject: str | None = None
    key_id: str | None = None
    """Names the key and is none."""
    by: str | None = None
    """The administrator who asked for it over the network; None: a command."""


@dataclass(frozen=True, slots=True)
class TicketIssued:
    """Somebody was given a ticket in the place of a token."""

    subject: str
    issuer: str
    token_id: str
    peer_address: str
    origin: str | None


@dataclass(frozen=True, slots=True)
class SessionEndedByAdministrator:
    """An administrator has ended a session."""

    session_id: str
    subject: str
    """Whose session it was."""
    by: str
    peer_address: str
    """Of the administrator."""


@dataclass(frozen=True, slots=True)
class SigningKeyRotated:
    """Tokens are signed with another key from now on."""

    key_id: str
    former_key_id: str
    overlap_s: int
    """How long tokens of the former key are still accepted."""


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """Somebody was turned away at the door."""

    peer_address: str
    origin: str | None
    user_agent: str | None
    http_status: int
    reason: str
    subject: str | None = None
    """Known only when the token itself was good."""
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """Somebody was let in."""

    session_id: str
    subject: str
    issuer: str
    token_id: str
    """The token's `jti`, which opens nothing."""
    peer_address: str
    origin: str | None
    user_agent: str | None
    model: str


@dataclass(frozen=True, slots=True)
class SessionRefreshed:
    """A session goes on by a newer token."""

    session_id: str
    subject: str
    token_id: str
    former_token_id: str


@dataclass(frozen=True, slots=True)
class RefreshRefused:
    """A session was given a token that will not do."""

    session_id: str
    subject: str
    token_id: str
    """By which it goes on."""
    reason: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session is over: what it took and why it ended."""

    session_id: str
    subject: str
    token_id: str
    model: str
    bytes_received: int
    audio_ms: int
    speech_ms: int
    segments: int
    close_code: int
    """WebSocket close code."""
    reason: str


AuditEvent = (
    ServerStarted
    | ServerStopped
    | ModelOpened
    | ModelRefused
    | EngineRestarted
    | OlderModelAllowed
    | PackSealed
    | KeySlotsChanged
    | TokenMinted
    | TokenRevoked
    | SigningKeyRotated
    | TicketIssued
    | SessionEndedByAdministrator
    | HandshakeRefused
    | SessionStarted
    | SessionRefreshed
    | RefreshRefused
    | SessionEnded
)

EVENT_NAMES: dict[type[AuditEvent], str] = {
    ServerStarted: "server.started",
    ServerStopped: "server.stopped",
    ModelOpened: "model.opened",
    ModelRefused: "model.refused",
    EngineRestarted: "engine.restarted",
    OlderModelAllowed: "model.older_allowed",
    PackSealed: "pack.sealed",
    KeySlotsChanged: "keys.changed",
    TokenMinted: "token.minted",
    TokenRevoked: "token.revoked",
    SigningKeyRotated: "keys.signing_rotated",
    TicketIssued: "ticket.issued",
    SessionEndedByAdministrator: "session.ended_by_administrator",
    HandshakeRefused: "handshake.refused",
    SessionStarted: "session.started",
    SessionRefreshed: "session.refreshed",
    RefreshRefused: "session.refresh_refused",
    SessionEnded: "session.ended",
}
"""Stable, for queries and for whoever reads the file with other tools."""
_FAILURES = (ModelRefused, EngineRestarted, HandshakeRefused, RefreshRefused)


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
    fields: dict[str, str | int | None] = {}
    for name, value in asdict(event).items():
        if name.endswith("token_id") and isinstance(value, str):
            fields[name.removesuffix("id") + "hash"] = token_hash_of(value)
        else:
            fields[name] = clean(value) if isinstance(value, str) else value
    if "peer_address" in fields:
        fields["address"] = fields.pop("peer_address")
    columns = {name: fields.pop(name, None) for name in COLUMNS}
    detail = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return AuditRow(EVENT_NAMES[type(event)], outcome_of(event), detail=detail, **columns)


def outcome_of(event: AuditEvent) -> str:
    """Whether what was tried succeeded."""
    return "failure" if isinstance(event, _FAILURES) else "success"


def token_hash_of(token_id: str) -> str:
    """What the trail calls a token: the first 128 bits of the SHA-256 of its `jti`, in hex."""
    return hashlib.sha256(token_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def clean(text: str) -> str:
    """Without control, direction and other invisible characters, cut to `MAX_TEXT_CHARS`."""
    head = text[: 2 * MAX_TEXT_CHARS]  # a stranger's megabyte is not looked through
    visible = "".join(filter(_is_visible, head))
    if len(visible) <= MAX_TEXT_CHARS and len(head) == len(text):
        return visible
    return visible[: MAX_TEXT_CHARS - 1] + _CUT_MARK


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    return not category.startswith("C") and category not in {"Zl", "Zp"}
