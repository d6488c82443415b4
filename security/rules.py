"""What is looked for in the trail: the rules in one table, and which refusals mean what.

How often is too often is in the settings, which the table names. Reasons are those of
`security.errors`, `server.errors`, `server.door` and `server.tickets`.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for."""

    name: str
    severity: Severity
    looks_at: str
    setting: str | None
    """Holds its threshold; None: once is enough."""
    text: str
    text_of_more: str | None = None
    """Of what has grown to a reason to block the address."""


RULES = (
    Rule(
        "failures_of_address",
        "high",
        "refused credentials, by address",
        "failures_of_address",
        "An address was refused several times in a few minutes.",
        "An address went on, with as many forged or guessed credentials as are reason to block it.",
    ),
    Rule(
        "failures_of_subject",
        "medium",
        "refused credentials and rights, by subject",
        "failures_of_subject",
        "A subject was refused several times in a few minutes.",
    ),
    Rule(
        "subjects_of_address",
        "high",
        "different subjects that were refused, by address",
        "subjects_of_address",
        "Several subjects were refused from one address in a few minutes.",
    ),
    Rule(
        "token_in_two_places",
        "high",
        "the address that a token comes from",
        "token_elsewhere_s",
        "One token was shown from two addresses within a while.",
    ),
    Rule(
        "ticket_replayed",
        "high",
        "tickets that were used before",
        None,
        "A ticket was shown that had been used.",
    ),
    Rule(
        "unknown_keys",
        "high",
        "tokens with unknown keys, algorithms or types, by address",
        "unknown_keys",
        "Tokens named keys or algorithms that are not used here.",
    ),
    Rule(
        "wrong_origins",
        "medium",
        "pages that may not connect, by address",
        "wrong_origins",
        "Pages from elsewhere tried to connect, or used another page's ticket.",
    ),
    Rule(
        "limits_reached",
        "low",
        "budgets that ran out and sessions that were too many, by subject",
        "limit_ends",
        "A subject ran into its limits several times in an hour.",
    ),
    Rule(
        "unusual_hour",
        "low",
        "when a subject's sessions begin",
        "habit_sessions",
        "A session began at an hour at which none of the subject's ever did.",
    ),
    Rule(
        "unusual_length",
        "low",
        "the audio of a subject's sessions",
        "unusual_spreads",
        "A session was far longer than those of the subject are.",
    ),
    Rule(
        "unusual_volume",
        "medium",
        "the audio of a subject's days",
        "unusual_spreads",
        "A subject sent far more audio in a day than it does.",
    ),
    Rule(
        "many_addresses",
        "high",
        "refusals that are counted together, because so many addresses share them",
        None,
        "More addresses were refused in a minute than have rows of their own.",
    ),
    Rule(
        "integrity",
        "critical",
        "packs that were altered, problems that the trail's verification found",
        None,
        "A model pack or the audit trail is not what it was.",
    ),
    Rule(
        "gap",
        "high",
        "gaps in the trail",
        None,
        "Events were lost while the trail could not be written.",
    ),
)
RULES_BY_NAME = {rule.name: rule for rule in RULES}
WATCHED_EVENTS = (
    "handshake.refused",
    "handshake.refused_often",
    "session.refresh_refused",
    "ticket.issued",
    "sign_in.succeeded",
    "sign_in.renewed",
    "authentication.succeeded",
    "session.started",
    "session.resumed",
    "session.ended",
    "model.refused",
    "trail.gap",
    "trail.verified",
)
"""All that the rules look at."""

GENUINE = frozenset(
    {
        *("token_expired", "token_too_old", "token_not_yet_valid", "token_lifetime_too_long"),
        *("token_wrong_audience", "ticket_expired", "revoked"),
        *("code_expired", "code_used", "sign_in_over"),
    }
)
"""Of credentials that somebody was given: these are found only after the signature was right."""
NOTHING_SHOWN = frozenset({"token_missing", "credentials_ambiguous"})
UNKNOWN_KEYS = frozenset({"token_unknown_key", "token_wrong_algorithm", "token_wrong_type"})
REPLAYED = "ticket_replayed"
MANY_ADDRESSES = "many_addresses"
NOT_KNOWN = frozenset(
    {
        *("ticket_unknown", "token_keys_unreachable", "code_unknown", "code_of_other_browser"),
        *("sign_in_unknown", "sign_in_of_other_browser"),
    }
)
"""Guessed, or not. A ticket may be forgotten since: used before a restart, at another server, or
long ago; and any page can make its visitors' browsers show one, in the address of a picture, or a
code, in a link to the page. Nobody may get others blocked by that, nor by keeping us from an
issuer's keys.
"""
GUESSED = UNKNOWN_KEYS | {
    *("token_too_long", "token_malformed", "token_bad_signature", "token_bad_claims"),
    *("token_wrong_issuer", "ticket_of_other_origin", REPLAYED),
}
NOT_AUTHENTICATED = GENUINE | NOTHING_SHOWN | NOT_KNOWN | GUESSED
NO_RIGHT = frozenset({"scope_missing", "model_not_granted", "ticket_for_ticket"})
WRONG_ORIGINS = frozenset({"origin_refused", "ticket_of_other_origin"})
LIMITS = frozenset(
    {
        *("quota_bytes", "quota_audio", "quota_daily", "session_too_long", "too_fast"),
        *("too_many_sessions", "too_many_starts", "too_many_tickets"),
    }
)
ALTERED_PACK = frozenset(
    {
        *("missing_file", "extra_file", "wrong_size", "bad_signature", "bad_manifest"),
        *("bad_slots", "bad_segment", "older_version"),
    }
)
TOKEN_SHOWN = frozenset(
    {
        *("session.started", "session.resumed", "ticket.issued"),
        *("authentication.succeeded", "handshake.refused"),
        *("sign_in.succeeded", "sign_in.renewed"),
    }
)
"""Events that say from where a token was shown."""
