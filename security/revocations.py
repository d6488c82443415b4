"""What was revoked in, whether a token or a session still counts out.

Three things can be revoked: one token, until it would have expired; a subject's tokens, those that
were issued up to a moment; and a key of an issuer, for good. All of them belong to an issuer: what
two issuers call by the same name is not the same. Tokens say their times in whole seconds, so one
that was issued in the very second of a revocation is revoked too.
"""

from enum import StrEnum
from typing import Annotated, Protocol, TypeAlias

import msgspec

from security.errors import RevocationError

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Second = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]


class RevocationReason(StrEnum):
    """What of it was revoked."""

    TOKEN = "revoked_token"  # noqa: S105 (a reason)
    SUBJECT = "revoked_subject"
    KEY = "revoked_key"


class RevokedToken(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="revoked", tag="token"
):
    """One token, whoever shows it."""

    issuer: _Text
    token_id: _Text
    until_s: _Second
    """Unix time from which it has expired anyway."""


class RevokedSubject(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="revoked", tag="subject"
):
    """All tokens of a subject that were issued up to a moment."""

    issuer: _Text
    subject: _Text
    issued_until_s: _Second
    until_s: _Second
    """Unix time from which they all have expired anyway."""


class RevokedKey(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="revoked", tag="key"
):
    """All tokens that a key has verified."""

    issuer: _Text
    key_id: _Text


Revocation: TypeAlias = RevokedToken | RevokedSubject | RevokedKey
_decoder: msgspec.json.Decoder[Revocation] = msgspec.json.Decoder(Revocation)


class Shown(Protocol):
    """A verified token's claims, or whatever else keeps these of them."""

    @property
    def subject(self) -> str: ...
    @property
    def issuer(self) -> str: ...
    @property
    def token_id(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def issued_at_s(self) -> int: ...


class Revocations:
    """All that was revoked, for one look-up each."""

    def __init__(self) -> None:
        self._tokens: set[tuple[str, str]] = set()
        self._subjects: dict[tuple[str, str], int] = {}
        self._keys: set[tuple[str, str]] = set()

    def add(self, revocation: Revocation) -> None:
        """From now on it counts."""
        match revocation:
            case RevokedToken():
                self._tokens.add((revocation.issuer, revocation.token_id))
            case RevokedSubject():
                who = (revocation.issuer, revocation.subject)
                former_s = self._subjects.get(who, 0)
                self._subjects[who] = max(former_s, revocation.issued_until_s)
            case RevokedKey():  # pragma: no branch - there is no other
                self._keys.add((revocation.issuer, revocation.key_id))

    def is_revoked(self, shown: Shown) -> RevocationReason | None:
        """Why it does not count any more; None if it does."""
        return self.matches(
            shown.subject, shown.issuer, shown.token_id, shown.key_id, shown.issued_at_s
        )

    def is_key_revoked(self, issuer: str, key_id: str) -> bool:
        """Whether all that this key has signed counts no more."""
        return (issuer, key_id) in self._keys

    def matches(
        self, subject: str, issuer: str, token_id: str, key_id: str, issued_at_s: int
    ) -> RevocationReason | None:
        """As `is_revoked`, for what a living session keeps of its token."""
        if (issuer, token_id) in self._tokens:
            return RevocationReason.TOKEN
        if issued_at_s <= self._subjects.get((issuer, subject), -1):
            return RevocationReason.SUBJECT
        if self.is_key_revoked(issuer, key_id):
            return RevocationReason.KEY
        return None


def encode_revocation(revocation: Revocation) -> bytes:
    """One line."""
    return msgspec.json.encode(revocation) + b"\n"


def decode_revocation(line: bytes) -> Revocation:
    """What `encode_revocation` wrote. Raises RevocationError."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RevocationError("a line of the revocations says nothing") from None


def is_past(revocation: Revocation, wall_s: float) -> bool:
    """Whether everything it revokes has expired anyway."""
    return not isinstance(revocation, RevokedKey) and revocation.until_s < wall_s
