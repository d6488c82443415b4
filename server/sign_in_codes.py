"""Who may sign in, in; a code for it out; and who it was, again for the code, once.

A code is 128 random bits in the fragment of an address, which no request and no log holds. It is
good for one use and a few minutes. One that a provider vouched for is bound to the browser that
went there, so that nobody can hand theirs to somebody else, or use one that was seen; the one that
the server's start prints is bound to none. Only hashes are kept, used ones until they would have
been forgotten anyway, so that a second use is known for what it is. Their number has a bound.
"""

import hmac
import secrets
from dataclasses import dataclass, field

from server import errors
from server.errors import RefusedError
from server.text_hash import hash_of

_CODE_BYTES = 16
_CODE_CHARS = 22
_MOST = 10_000
_KEPT_S = 3600.0
"""How long one that is over is told from one that never was."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a code signs in."""

    subject: str
    method: str
    """`start_code` or `provider`."""


@dataclass(slots=True)
class _Kept:
    person: Person
    browser: bytes | None = field(repr=False)
    ends_s: float
    is_used: bool = False


class SignInCodes:
    """Those of one process; used from the event loop only."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: dict[bytes, _Kept] = {}
        """By hash."""

    def __len__(self) -> int:
        return len(self._kept)

    def issue(
        self, person: Person, lifetime_s: float, now_s: float, browser: str | None = None
    ) -> str:
        """A code; `browser`: the secret of the only one that may use it. Raises RefusedError when
        there are too many.
        """
        self._forget(now_s)
        if len(self._kept) >= self._most:
            self._kept = {
                name: kept
                for name, kept in self._kept.items()
                if not kept.is_used and now_s < kept.ends_s
            }
        if len(self._kept) >= self._most:
            raise RefusedError(errors.OVERLOADED, "codes_full")
        code = secrets.token_urlsafe(_CODE_BYTES)
        bound = None if browser is None else hash_of(browser)
        self._kept[hash_of(code)] = _Kept(person, bound, now_s + lifetime_s)
        return code

    def redeem(self, code: str, now_s: float, browser: str | None = None) -> Person:
        """Whom it signs in. Raises RefusedError, with the reason for the trail."""
        kept = self._kept.get(hash_of(code)) if len(code) == _CODE_CHARS else None
        if kept is None:
            raise RefusedError(errors.CODE_INVALID, "code_unknown")
        if kept.is_used:
            raise RefusedError(errors.CODE_INVALID, "code_used")
        if now_s >= kept.ends_s:
            raise RefusedError(errors.CODE_INVALID, "code_expired")
        if kept.browser is not None and not _is_same(browser, kept.browser):
            raise RefusedError(errors.CODE_INVALID, "code_of_other_browser")
        kept.is_used = True
        return kept.person

    def _forget(self, now_s: float) -> None:
        self._kept = {
            name: kept for name, kept in self._kept.items() if now_s < kept.ends_s + _KEPT_S
        }


def _is_same(browser: str | None, bound: bytes) -> bool:
    return browser is not None and hmac.compare_digest(hash_of(browser), bound)
