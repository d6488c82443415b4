"""A provider of identities, as the settings name it, in; where to send somebody, and who came back
with a code, out.

What the provider says of itself is fetched when it is needed first and kept for an hour; its keys
as long, and again for a key that is not known. Both are believed only as far as the settings go:
its name is theirs, exactly, so that no other can stand in for it, and every address is as safe as
its own. The code is exchanged with the verifier of its own sign-in (RFC 7636) and the answer's ID
token is all that is looked at: no access token is kept or used.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from security.addresses import is_safe_address
from security.errors import (
    AnswerError,
    KeyFileError,
    ProviderError,
    ProviderReason,
    UnknownKeyError,
)
from security.id_tokens import Expected, verify_id_token
from security.jwks import JwksAddress, JwksCache
from security.keys import read_checked
from security.outgoing import Way, ask
from security.provider_settings import ProviderSettings
from security.spelling import decode_object

_WELL_KNOWN = "/.well-known/openid-configuration"
_LIMIT_S = 5.0
_MOST_BYTES = 256 * 1024
_FRESH_S = 3600.0
_RETRY_S = 5.0
_MOST_AT_ONCE = 8
"""Exchanges: whoever begins many keeps neither us nor the provider busy. The others wait for their
turn, so that it takes more than eight strangers to keep everybody out.
"""
_LIMIT_OF_WAITING_S = 5.0


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    id_token_signing_alg_values_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class _TokenAnswer(msgspec.Struct, frozen=True):
    id_token: str


@dataclass(frozen=True, slots=True)
class _Known:
    metadata: _Metadata
    keys: JwksCache
    fetched_s: float


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody is sent to the provider with."""

    state: str
    nonce: str
    challenge: str
    """The SHA-256 of the verifier, in base64url."""
    redirect_uri: str


class Provider:
    """Of one server; used from the event loop only."""

    def __init__(self, settings: ProviderSettings, clock: Callable[[], float]) -> None:
        """Nothing is fetched yet. `clock` is monotonic."""
        self._settings, self._clock = settings, clock
        self._known: _Known | None = None
        self._failed_s = float("-inf")
        self._one_look = asyncio.Lock()
        self._exchanges = asyncio.Semaphore(_MOST_AT_ONCE)
        self._way = Way(_LIMIT_S, _MOST_BYTES, settings.ca_file, settings.proxy)

    @property
    def name(self) -> str:
        """What people know it by."""
        return self._settings.name

    @property
    def issuer(self) -> str:
        """Its own name."""
        return self._settings.issuer

    async def address_for(self, question: Question) -> str:
        """Where somebody is asked who they are. Raises ProviderError."""
        endpoint = (await self._look()).metadata.authorization_endpoint
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": question.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *self._settings.scopes))),
            "state": question.state,
            "nonce": question.nonce,
            "code_challenge": question.challenge,
            "code_challenge_method": "S256",
        }
        return endpoint + ("&" if urlsplit(endpoint).query else "?") + urlencode(asked)

    async def check_answerer(self, issuer: str | None) -> None:
        """Whether the answer is this provider's (RFC 9207): `issuer`, as it came with it, if it
        did. Raises ProviderError.
        """
        is_told = (await self._look()).metadata.authorization_response_iss_parameter_supported
        if issuer != self._settings.issuer and (issuer is not None or is_told):
            raise ProviderError(ProviderReason.BAD_ANSWER)

    async def subject_of(
        self,
        code: str,
        verifier: str,
        nonce: str,
        redirect_uri: str,
        wall_clock: Callable[[], float],
    ) -> str:
        """Who came back with this code, as the provider names them. Raises ProviderError, and
        TokenError for an ID token that will not do.
        """
        async with self._a_turn():
            known = await self._look()
            token = await self._exchange(known.metadata, code, verifier, redirect_uri)
            expected = self._expected(nonce)
            if known.keys.age_s > _FRESH_S:
                await known.keys.refresh()
            try:
                return verify_id_token(token, expected, known.keys.find, wall_clock())
            except UnknownKeyError:
                await known.keys.refresh()
            try:
                return verify_id_token(token, expected, known.keys.find, wall_clock())
            except UnknownKeyError:
                if known.keys.is_failing:
                    raise ProviderError(ProviderReason.UNREACHABLE) from None
                raise

    @asynccontextmanager
    async def _a_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_LIMIT_OF_WAITING_S):
                await self._exchanges.acquire()
        except TimeoutError:
            raise ProviderError(ProviderReason.UNREACHABLE) from None
        try:
            yield
        finally:
            self._exchanges.release()

    async def look(self) -> None:
        """Fetch what it says of itself, and its keys. For a command. Raises ProviderError."""
        known = await self._look()
        await known.keys.refresh()
        if known.keys.is_failing:
            raise ProviderError(ProviderReason.UNREACHABLE)

    def _expected(self, nonce: str) -> Expected:
        settings = self._settings
        has_both = settings.required_claim is not None and settings.required_value is not None
        return Expected(
            issuer=settings.issuer,
            client_id=settings.client_id,
            algorithm=settings.algorithm,
            nonce=nonce,
            required=(
                (settings.required_claim or "", settings.required_value or "") if has_both else None
            ),
            leeway_s=settings.leeway_s,
        )

    async def _look(self) -> _Known:
        async with self._one_look:
            known, now_s = self._known, self._clock()
            if known is not None and now_s - known.fetched_s < _FRESH_S:
                return known
            if now_s - self._failed_s < _RETRY_S:
                raise ProviderError(ProviderReason.UNREACHABLE)
            try:
                metadata = await self._fetch_metadata()
            except ProviderError:
                self._failed_s = self._clock()
                raise
            keys = known.keys if known and known.metadata.jwks_uri == metadata.jwks_uri else None
            self._known = _Known(metadata, keys or self._new_keys(metadata), self._clock())
            return self._known

    async def _fetch_metadata(self) -> _Metadata:
        try:
            body = await ask(self._settings.issuer.rstrip("/") + _WELL_KNOWN, self._way)
            metadata = msgspec.convert(decode_object(body), _Metadata)
        except AnswerError:
            raise ProviderError(ProviderReason.UNREACHABLE) from None
        except (ValueError, msgspec.ValidationError):
            raise ProviderError(ProviderReason.BAD_METADATA) from None
        if not self._fits(metadata):
            raise ProviderError(ProviderReason.BAD_METADATA)
        return metadata

    def _fits(self, metadata: _Metadata) -> bool:
        settings = self._settings
        algorithms = metadata.id_token_signing_alg_values_supported or [settings.algorithm]
        challenges = metadata.code_challenge_methods_supported or ["S256"]
        addresses = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
        has_plain = urlsplit(settings.issuer).scheme == "http"
        return (
            metadata.issuer == settings.issuer
            and settings.algorithm in algorithms
            and "S256" in challenges
            and all(map(_is_plain, addresses))
            and (has_plain or all(urlsplit(each).scheme == "https" for each in addresses))
        )

    def _new_keys(self, metadata: _Metadata) -> JwksCache:
        address = JwksAddress(metadata.jwks_uri, self._settings.ca_file, self._settings.proxy)
        return JwksCache(
            self._settings.issuer,
            self._settings.algorithm,
            address.fetch,
            self._clock,
            asyncio.sleep,
        )

    async def _exchange(
        self, metadata: _Metadata, code: str, verifier: str, redirect_uri: str
    ) -> str:
        """The ID token, unverified."""
        client_id = self._settings.client_id
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if self._settings.client_secret_file is None:
            form["client_id"] = client_id
        else:
            headers["authorization"] = await asyncio.to_thread(self._basic)
        try:
            body = await ask(metadata.token_endpoint, self._way, form, headers)
            return msgspec.convert(decode_object(body), _TokenAnswer).id_token
        except AnswerError as error:
            reason = ProviderReason.REFUSED if error.is_answered else ProviderReason.UNREACHABLE
            raise ProviderError(reason) from None
        except (ValueError, msgspec.ValidationError):
            raise ProviderError(ProviderReason.BAD_ANSWER) from None

    def _basic(self) -> str:
        """RFC 6749, section 2.3.1."""
        path = self._settings.client_secret_file
        try:
            secret = bytes(read_checked(path, is_secret=True)).rstrip(b"\r\n") if path else b""
            pair = f"{quote_plus(self._settings.client_id)}:{quote_plus(secret.decode())}"
        except (KeyFileError, UnicodeDecodeError):
            raise ProviderError(ProviderReason.REFUSED) from None
        return "Basic " + b64encode(pair.encode()).decode()


def _is_plain(address: str) -> bool:
    """Whether it is an address that can be asked, and put into a header."""
    is_spelt = address.isascii() and address.isprintable() and not {" ", "#"} & set(address)
    return is_spelt and is_safe_address(address)
