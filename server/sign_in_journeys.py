"""Browsers that are sent to a provider of identities in, each again when it comes back, once.

Whoever comes back has to bring the state that went along and the secret that their own browser was
given; so nobody can be signed in by another's answer (RFC 6819, section 4.4.1.8). The verifier
(RFC 7636) and the nonce of the ID token never leave here. A journey takes ten minutes at most. One
address has so many; the oldest of its own gives way, so that whoever begins thousands spoils
nobody's but their own. Where all are taken, the address that has most gives one up to who has less.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass, field

from server import errors
from server.errors import RefusedError
from server.text_hash import hash_of

JOURNEY_S = 600
_MOST = 10_000
_MOST_OF_ADDRESS = 200
_SECRET_BYTES = 16
_VERIFIER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Journey:
    """One browser's way to the provider and back."""

    state: str = field(repr=False)
    browser: str = field(repr=False)
    """What its cookie holds."""
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """What the provider is shown of the verifier."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _Kept:
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    browser: bytes = field(repr=False)
    customer: str
    ends_s: float


class Journeys:
    """Those of one process; used from the event loop only."""

    def __init__(self, most: int = _MOST, most_of_address: int = _MOST_OF_ADDRESS) -> None:
        self._most, self._most_of_address = most, most_of_address
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        """By the hash of the state, oldest first."""
        self._of_customer: dict[str, OrderedDict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, customer: str, now_s: float) -> Journey:
        """A new one from what counts as one address. Raises RefusedError."""
        self._forget(now_s)
        own = self._of_customer.get(customer, OrderedDict())
        if len(own) >= self._most_of_address:
            self._drop(next(iter(own)))
        if len(self._kept) >= self._most:
            self._make_room(len(own))
        journey = Journey(
            state=secrets.token_urlsafe(_SECRET_BYTES),
            browser=secrets.token_urlsafe(_SECRET_BYTES),
            nonce=secrets.token_urlsafe(_SECRET_BYTES),
            verifier=secrets.token_urlsafe(_VERIFIER_BYTES),
        )
        name = hash_of(journey.state)
        self._kept[name] = _Kept(
            journey.nonce, journey.verifier, hash_of(journey.browser), customer, now_s + JOURNEY_S
        )
        self._of_customer.setdefault(customer, OrderedDict())[name] = None
        return journey

    def end(self, state: str, browser: str | None, now_s: float) -> Journey:
        """The one of this state, if it is this browser's; it is over then, and also if it is not.
        Raises RefusedError.
        """
        name = hash_of(state)
        kept = self._kept.get(name)
        if kept is None:
            raise RefusedError(errors.SIGN_IN_FAILED, "sign_in_unknown")
        self._drop(name)
        if now_s >= kept.ends_s:
            raise RefusedError(errors.SIGN_IN_FAILED, "sign_in_expired")
        if browser is None or not hmac.compare_digest(hash_of(browser), kept.browser):
            raise RefusedError(errors.SIGN_IN_FAILED, "sign_in_of_other_browser")
        return Journey(state, browser, kept.nonce, kept.verifier)

    def _make_room(self, n_own: int) -> None:
        most = max(self._of_customer.values(), key=len)
        if len(most) <= n_own + 1:
            raise RefusedError(errors.OVERLOADED, "sign_ins_full")
        self._drop(next(iter(most)))

    def _forget(self, now_s: float) -> None:
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            if now_s < kept.ends_s:
                return
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        customer = self._kept.pop(name).customer
        del self._of_customer[customer][name]
        if not self._of_customer[customer]:
            del self._of_customer[customer]
