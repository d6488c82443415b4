"""Verified claims in, what this connection may do out; the session sees this and never a token."""

from dataclasses import dataclass

from security.tokens import Claims

TRANSCRIBE_SCOPE = "transcribe"


@dataclass(frozen=True, slots=True)
class Grant:
    """One connection's rights; None means no limit of its own."""

    subject: str
    issuer: str
    token_id: str
    expires_in_s: float
    """From the moment of the handshake."""
    audio_ms: int | None
    bytes: int | None
    concurrent_sessions: int | None


def grant_from_claims(claims: Claims, wall_s: float) -> Grant | None:
    """What the claims allow at `wall_s`; None when transcribing is not among it."""
    if TRANSCRIBE_SCOPE not in claims.scopes:
        return None
    limits = claims.limits
    return Grant(
        subject=claims.subject,
        issuer=claims.issuer,
        token_id=claims.token_id,
        expires_in_s=claims.expires_at_s - wall_s,
        audio_ms=None if limits.session_audio_s is None else limits.session_audio_s * 1000,
        bytes=limits.session_bytes,
        concurrent_sessions=limits.concurrent_sessions,
    )
