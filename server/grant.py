"""Verified claims and the settings in, what this connection may do out; the session sees this and
never a token.

Where a token says nothing the settings' default holds, and nobody gets more than their ceiling.
"""

from dataclasses import dataclass, field, fields
from typing import TypedDict

from security.limits import Limits
from security.tokens import ADMIN_SCOPES, ANY_OWNER, Claims
from server.call_values import CallPlace

TRANSCRIBE_SCOPE = "transcribe"
ADMIN_SCOPE = "admin"
AUDIT_SCOPE = "audit"
CALLS_SCOPE = "calls"
"""To read what is said in calls that others stream."""
SCOPES = ADMIN_SCOPES | {TRANSCRIBE_SCOPE, CALLS_SCOPE}


@dataclass(frozen=True, slots=True)
class GrantSettings:
    """What tokens of any issuer get, whatever they say."""

    default: Limits = field(default_factory=Limits)
    """Where a token says nothing."""
    most: Limits = field(default_factory=Limits)
    """Ceilings; None: none."""


class Holder(TypedDict):
    """Whose token it is, by the names of the trail's events."""

    subject: str
    issuer: str
    token_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One connection's rights."""

    subject: str
    issuer: str
    token_id: str
    key_id: str
    """Of the key that signed the token."""
    issued_at_s: int
    """Unix time."""
    expires_in_s: float
    """From the moment of the handshake."""
    scopes: frozenset[str]
    limits: Limits
    models: frozenset[str] | None = None
    """None: any."""
    languages: frozenset[str] | None = None
    signed_in_at_s: int | None = None
    """Unix time of the sign-in that the token comes from, if its issuer says so."""
    call_owners: frozenset[str] | None = None
    """Subjects of the same issuer whose calls may be read; None: its own."""
    calls: frozenset[str] | None = None
    """Ids of the calls that may be read; None: any."""
    call: CallPlace | None = None
    """For which call a ticket was issued that came in the token's place."""

    @property
    def holder(self) -> Holder:
        """For a row of the trail."""
        return Holder(subject=self.subject, issuer=self.issuer, token_id=self.token_id)

    @property
    def who(self) -> str:
        """With whom it shares what a subject can do: the issuer and its name for the caller."""
        return f"{self.issuer} {self.subject}"

    def reads_call(self, call_id: str, owner: str) -> bool:
        """Whether it is for this call of whoever streams it, who is named as `who` does."""
        ours = f"{self.issuer} "
        if not owner.startswith(ours) or not (self.calls is None or call_id in self.calls):
            return False
        subject = owner.removeprefix(ours)
        if self.call_owners is None:  # who is called as ANY_OWNER is has its own alone
            return subject == self.subject
        return ANY_OWNER in self.call_owners or subject in self.call_owners

    def covers(self, model_id: str, heard: frozenset[str | None] = frozenset()) -> bool:
        """Whether it is for this model, and for what is heard; None there: whatever is spoken."""
        is_for_model = self.models is None or model_id in self.models
        return is_for_model and (self.languages is None or heard <= self.languages)

    def is_for(self, scope: str) -> bool:
        """Whether it lets do this; who may act on what the trail shows may look at it, too."""
        return scope in self.scopes or (scope == AUDIT_SCOPE and ADMIN_SCOPE in self.scopes)

    def language_of(self, wished: str | None, known: frozenset[str]) -> str | None:
        """The one to hear, of a model's: who may only have one need not say which."""
        if self.languages is None or wished in self.languages:
            return wished
        left = self.languages & known
        return next(iter(left)) if wished is None and len(left) == 1 else None


def grant_from_claims(claims: Claims, settings: GrantSettings, wall_s: float) -> Grant:
    """What the claims allow at `wall_s`: scopes count in tokens of their own audience only."""
    is_for_admin = claims.is_for_admin
    scopes = claims.scopes & ADMIN_SCOPES if is_for_admin else claims.scopes - ADMIN_SCOPES
    return Grant(
        subject=claims.subject,
        issuer=claims.issuer,
        token_id=claims.token_id,
        key_id=claims.key_id,
        issued_at_s=claims.issued_at_s,
        expires_in_s=claims.expires_at_s - wall_s,
        scopes=scopes,
        limits=least(settings.most, _or_default(claims.limits, settings.default)),
        models=claims.models,
        languages=claims.languages,
        signed_in_at_s=claims.signed_in_at_s,
        call_owners=claims.call_owners,
        calls=claims.calls,
    )


def least(one: Limits, other: Limits) -> Limits:
    """What both allow."""
    pairs = {
        field.name: (getattr(one, field.name), getattr(other, field.name)) for field in _LIMITS
    }
    return Limits(**{name: _least(*pair) for name, pair in pairs.items()})


def _or_default(limits: Limits, default: Limits) -> Limits:
    said = {field.name: getattr(limits, field.name) for field in _LIMITS}
    return Limits(
        **{name: getattr(default, name) if value is None else value for name, value in said.items()}
    )


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


_LIMITS = fields(Limits)
