"""Settings of issuers in, one call that says whose token it is out.

The local issuer signs with a key of the data folder. Others publish their keys in a file or at an
address, over https; plain http is for the same machine, where a proxy or a test may answer. A token
that names a key its issuer was not known to have is checked once more after one look at the
address. Claims come from the verifier alone; here is only what has to wait.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from security.addresses import is_safe_address
from security.errors import TokenError, TokenReason, UnknownKeyError
from security.jwks import Clock, JwksAddress, JwksCache, Sleep
from security.key_files import issuer_keys, local_keys
from security.keys import public_half
from security.token_keys import Algorithm, is_key_id
from security.tokens import Claims, TokenPolicy, TokenVerifier, VerifyingKeys


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """Somebody else whose tokens are accepted."""

    issuer: str
    """The `iss` of its tokens, exactly."""
    audience: str
    """What its tokens call this server in `aud`."""
    algorithm: Algorithm
    """EdDSA, ES256 or RS256; HS256, whose key also signs, for a single machine."""
    keys: str
    """A PEM file, a JWKS file, or the https address of one; for HS256 a file closed to others."""
    key_id: str | None = None
    """The `kid` of the only key, if the file does not say it."""
    typ: str = "at+jwt"
    """The header's `typ`, exactly; issuers that know no access tokens write `JWT`."""
    max_lifetime_s: int = 3600
    max_age_s: int | None = None
    """How long ago a token may have been issued; by default as long as it lives."""
    leeway_s: int = 30
    """How far two clocks may differ."""
    max_token_bytes: int = 8192
    ca_file: Path | None = None
    """Authorities to trust at the address instead of the system's."""
    proxy: str | None = None
    """The proxy by which the address is reached; the environment names none."""
    admin_audience: str | None = None
    """What its tokens for administrators call this server; by default `audience` and `/admin`."""

    @property
    def is_fetched(self) -> bool:
        """Whether its keys come from an address."""
        return "://" in self.keys

    @property
    def policy(self) -> TokenPolicy:
        """What its tokens have to say."""
        return TokenPolicy(
            issuer=self.issuer,
            audience=self.audience,
            max_lifetime_s=self.max_lifetime_s,
            leeway_s=self.leeway_s,
            max_token_bytes=self.max_token_bytes,
            algorithm=self.algorithm,
            typ=self.typ,
            max_age_s=self.max_age_s,
            admin_audience=self.admin_audience,
        )

    def faults(self) -> list[str]:
        """What is wrong, by field and rule, never by value; empty if nothing is."""
        amounts = {
            "max_lifetime_s": self.max_lifetime_s,
            "max_age_s": self.max_age_s or 0,
            "leeway_s": self.leeway_s,
            "max_token_bytes": self.max_token_bytes,
        }
        rules = {
            "issuer: not empty, and without spaces": bool(self.issuer) and " " not in self.issuer,
            "audience: not empty": bool(self.audience),
            "admin_audience: not empty, and not the audience": is_apart(self.policy),
            "keys: not empty": bool(self.keys),
            "keys: an https address, or http on this machine, without a password": (
                not self.is_fetched or is_safe_address(self.keys)
            ),
            "keys: a file, for HS256": not (self.is_fetched and self.algorithm == "HS256"),
            "key_id: 1 to 64 letters, digits, dots, dashes, underscores": (
                self.key_id is None or is_key_id(self.key_id)
            ),
            "proxy: an http or https address": (
                self.proxy is None or self.proxy.startswith(("http://", "https://"))
            ),
            **{f"{name}: not below 0": amount >= 0 for name, amount in amounts.items()},
        }
        return [rule for rule, is_kept in rules.items() if not is_kept]


class Issuers:
    """Whoever may say who somebody is."""

    def __init__(self, verifier: TokenVerifier, fetched: Mapping[str, JwksCache]) -> None:
        """`fetched`: the keys that come from an address, by issuer."""
        self.verifier = verifier
        self._fetched = fetched

    async def run(self) -> None:
        """Keep the keys fresh until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for cache in self._fetched.values():
                tasks.create_task(cache.run())

    async def refresh(self) -> None:
        """Fetch all keys now. For a command; a server has `run` do it."""
        async with asyncio.TaskGroup() as tasks:
            for cache in self._fetched.values():
                tasks.create_task(cache.refresh())

    async def verify(self, token: str, wall_s: float) -> Claims:
        """See `TokenVerifier.verify`; waits only for a key that is not known yet."""
        try:
            return self.verifier.verify(token, wall_s)
        except UnknownKeyError as error:
            if error.issuer not in self._fetched:
                raise
            cache = self._fetched[error.issuer]
            await cache.refresh_for_unknown_key()
        try:
            return self.verifier.verify(token, wall_s)
        except UnknownKeyError:
            if cache.is_failing:
                raise TokenError(TokenReason.KEYS_UNREACHABLE) from None
            raise


def open_issuers(
    local: tuple[TokenPolicy, VerifyingKeys],
    others: Iterable[IssuerSettings],
    clock: Clock,
    sleep: Sleep = asyncio.sleep,
) -> Issuers:
    """All of them, with their files read and nothing fetched yet. Raises KeyFileError.

    `clock` is monotonic.
    """
    fetched: dict[str, JwksCache] = {}
    issuers = [local]
    for settings in others:
        keys: VerifyingKeys
        if settings.is_fetched:
            address = JwksAddress(settings.keys, settings.ca_file, settings.proxy)
            keys = fetched[settings.issuer] = JwksCache(
                settings.issuer, settings.algorithm, address.fetch, clock, sleep
            )
        else:
            keys = issuer_keys(Path(settings.keys), settings.algorithm, settings.key_id)
        issuers.append((settings.policy, keys))
    return Issuers(TokenVerifier(issuers), fetched)


def open_local_issuer(
    policy: TokenPolicy, signing_key_file: Path, retired_keys_file: Path
) -> tuple[TokenPolicy, VerifyingKeys]:
    """The issuer whose signing key lies here. Raises KeyFileError."""
    return policy, local_keys(public_half(signing_key_file), retired_keys_file)


def is_apart(policy: TokenPolicy) -> bool:
    """Whether tokens for administrators are told from those for sessions."""
    return policy.admin_audience != "" and policy.for_admin != policy.audience
