"""Where what the sessions of a subject share is counted, and what is wrong with such settings.

In this process, unless `redis_url` names a Redis that several servers share. The address holds no
secret: the password lies in a file or a variable that is named here. This file knows no Redis
library, so that a server that needs none runs without.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

_URL = re.compile(r"rediss?://(?:[A-Za-z0-9_.-]+@)?[^@/?#]+(?:/[0-9]{1,5})?", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_PASSWORD = re.compile(r"(?:file:.+|env:[A-Z_][A-Z0-9_]{0,127})", re.ASCII)
_MOST_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class SubjectSettings:
    """One Redis for several servers, and how long it may be away."""

    redis_url: str | None = None
    """`redis://[USER@]HOST[:PORT][/DATABASE]`, `rediss://` with TLS, without a password. None:
    counted in this process alone, anew after each start."""
    redis_password_from: str | None = None
    """Where the password lies: `file:PATH`, read anew for each connection, or `env:NAME`."""
    redis_ca_file: Path | None = None
    """Whom to trust with `rediss://`; None: whom this machine trusts."""
    key_prefix: str = "earwitness"
    """Of all keys; servers that share it share their subjects."""
    lease_s: float = 28.0
    """A place of a server that died is free again after this long; half a minute with whoever comes
    back for it now and then."""
    renewal_s: float = 9.0
    """How often a living server renews the leases of its places."""
    answer_limit_s: float = 0.8
    """For Redis to answer; then a start is refused."""
    outage_limit_s: float = 300.0
    """How long a session goes on after its lease has run out while Redis is away."""


def split_redis_url(url: str) -> SplitResult:
    """The parts of an address. Raises ValueError, which holds none of it."""
    if not _URL.fullmatch(url):
        raise ValueError("not the address of a Redis")
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:  # raises by itself for one that is too high
        raise ValueError("not the address of a Redis")
    return parts


def subject_faults(settings: SubjectSettings) -> list[str]:
    """A line for each, by key and rule, never by value."""
    faults = []
    if settings.redis_url is not None and not _is_redis_url(settings.redis_url):
        faults.append("redis_url: redis[s]://[USER@]HOST[:PORT][/DATABASE], without a password")
    password_from = settings.redis_password_from
    if password_from is not None and not _PASSWORD.fullmatch(password_from):
        faults.append("redis_password_from: file:PATH or env:NAME, not the password itself")
    if not _PREFIX.fullmatch(settings.key_prefix):
        faults.append("key_prefix: 1 to 64 letters, digits, dots, colons, dashes, underscores")
    if not 0 < settings.answer_limit_s < _MOST_ANSWER_S:
        faults.append("answer_limit_s: above 0, below 1")
    if not 0 < settings.renewal_s <= settings.lease_s / 2 - settings.answer_limit_s:
        faults.append("renewal_s: at most half of lease_s, less answer_limit_s")
    return faults


def _is_redis_url(url: str) -> bool:
    try:
        split_redis_url(url)
    except ValueError:
        return False
    return True
