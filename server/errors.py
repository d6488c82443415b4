"""Everything a peer can be refused for: code, close code, HTTP status, whether to try again,
constant text.

    Refusal                      the peer sees code, text and nothing else
    ├── door (before accept)     HTTP 401, 403, 429, 503
    ├── the peer's fault         bad_message, message_too_big, idle, quota_*, token_expired, …
    ├── ours                     internal, shutting_down, trail_unavailable
    └── overload                 overloaded

A refusal is a value: the session core puts it into an event, the door into an HTTP answer, and the
audit trail keeps its `code` beside a more exact `reason` that the peer never sees.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way of saying no."""

    code: str
    """Stable, for programs."""
    close_code: int
    """WebSocket close code (RFC 6455 section 7.4; 4000-4999 are ours)."""
    text: str
    """Constant, for people; says what to do where there is something to do."""
    http_status: int = 400
    """Status when it is said before the WebSocket is accepted."""
    is_retryable: bool = False
    """Whether the same request can succeed later."""
    retry_after_s: int = 5
    """What is told of it before the WebSocket is accepted."""


UNAUTHENTICATED = Refusal(
    "unauthenticated", 4401, "No valid token or ticket. Bring a fresh one.", 401
)
CODE_INVALID = Refusal(
    "code_invalid",
    4401,
    "The sign-in code was used, is too old, or never was one. Get a new one.",
    401,
)
SIGN_IN_FAILED = Refusal(
    "sign_in_failed", 4401, "You could not be signed in. Try again, or ask who runs this.", 401
)
PROVIDER_UNAVAILABLE = Refusal(
    "provider_unavailable", 1013, "Who signs people in does not answer. Try again later.", 503, True
)
FORBIDDEN = Refusal("forbidden", 4403, "The token does not allow this.", 403)
ORIGIN_REFUSED = Refusal("origin_refused", 4403, "Pages from this origin may not connect.", 403)
TOO_MANY_SESSIONS = Refusal(
    "too_many_sessions", 4429, "Too many sessions for this token. End one first.", 429, True
)
TOO_MANY_STARTS = Refusal(
    "too_many_starts", 4429, "Too many sessions were begun. Wait a minute.", 429, True, 60
)
ADDRESS_BLOCKED = Refusal(
    "address_blocked", 4429, "Too much was tried from this address. Wait.", 429, True, 1800
)
TRAIL_UNAVAILABLE = Refusal(
    "trail_unavailable", 1013, "The server can take nobody in now. Try again later.", 503, True
)
OVERLOADED = Refusal("overloaded", 1013, "The server is full. Try again later.", 503, True)
BAD_MESSAGE = Refusal("bad_message", 4400, "The message does not follow earwitness.v1.")
LANGUAGE_UNKNOWN = Refusal("language_unknown", 4400, "The model does not understand this language.")
MESSAGE_TOO_BIG = Refusal(
    "message_too_big", 1009, "The message is too long. Send smaller ones.", 413
)
SESSION_GONE = Refusal(
    "session_gone", 4410, "The session is over and cannot be gone on with. Start a new one.", 410
)
IDLE = Refusal("idle", 4408, "Nothing was received for too long.", 408)
START_LATE = Refusal("start_late", 4408, "The start message did not come in time.", 408)
TOKEN_EXPIRED = Refusal(
    "token_expired", 4401, "The token has expired. Connect with a fresh one.", 401
)
REVOKED = Refusal("revoked", 4401, "The token is no longer accepted. Get a fresh one.", 401)
ENDED_BY_ADMINISTRATOR = Refusal(
    "ended_by_administrator", 4403, "An administrator has ended the session.", 403
)
LEASE_LOST = Refusal(
    "lease_lost", 4409, "The session's place was given to another. Connect again.", 409, True
)
TOO_FAST = Refusal(
    "too_fast", 4429, "Audio came faster than the token allows. Send it as it is spoken.", 429
)
QUOTA_BYTES = Refusal(
    "quota_bytes", 4413, "The bytes that the token allows a session are used up.", 429
)
QUOTA_AUDIO = Refusal(
    "quota_audio", 4413, "The audio time that the token allows a session is used up.", 429
)
QUOTA_DAILY = Refusal(
    "quota_daily", 4413, "The audio time that the token allows a day is used up.", 429
)
SESSION_TOO_LONG = Refusal(
    "session_too_long", 4413, "The session has reached its longest time.", 429
)
AUDIO_UNREADABLE = Refusal(
    "audio_unreadable", 4415, "The audio cannot be read. Send WAV, FLAC, OGG or MP3.", 415
)
BAD_REQUEST = Refusal("bad_request", 4400, "The request is not of the form that is expected here.")
MODEL_UNKNOWN = Refusal(
    "model_not_found",
    4400,
    "This model is not served. /v1/models names the one that is.",
    404,
)
CALL_UNKNOWN = Refusal(
    "call_unknown", 4404, "No such call is heard here for this token. Ask again.", 404, True
)
SLOW_READER = Refusal(
    "slow_reader",
    4408,
    "The events were not read in time. Come back for those after the last one.",
    408,
    True,
)
REQUEST_LATE = Refusal("request_late", 4408, "The request did not come in time.", 408, True)
INTERNAL = Refusal("internal", 1011, "The server failed. Try again.", 500, True)
SHUTTING_DOWN = Refusal(
    "shutting_down", 1012, "The server is restarting. Connect again.", 503, True
)

ALL = (
    UNAUTHENTICATED,
    CODE_INVALID,
    SIGN_IN_FAILED,
    PROVIDER_UNAVAILABLE,
    FORBIDDEN,
    ORIGIN_REFUSED,
    TOO_MANY_SESSIONS,
    TOO_MANY_STARTS,
    ADDRESS_BLOCKED,
    TRAIL_UNAVAILABLE,
    OVERLOADED,
    BAD_MESSAGE,
    LANGUAGE_UNKNOWN,
    MESSAGE_TOO_BIG,
    SESSION_GONE,
    IDLE,
    START_LATE,
    TOKEN_EXPIRED,
    REVOKED,
    ENDED_BY_ADMINISTRATOR,
    LEASE_LOST,
    TOO_FAST,
    QUOTA_BYTES,
    QUOTA_AUDIO,
    QUOTA_DAILY,
    SESSION_TOO_LONG,
    AUDIO_UNREADABLE,
    BAD_REQUEST,
    MODEL_UNKNOWN,
    CALL_UNKNOWN,
    SLOW_READER,
    REQUEST_LATE,
    INTERNAL,
    SHUTTING_DOWN,
)


class RefusedError(Exception):
    """Carries a refusal, and for the trail alone the exact reason, out of a check."""

    def __init__(self, refusal: Refusal, reason: str = "") -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.reason = reason or refusal.code
