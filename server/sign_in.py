"""People with a code, or whom a provider vouches for, in; a token of our own for the page out.

    GET  /v1/sign-in            who else signs people in here
    POST /v1/sign-in            a code for a token, once
    POST /v1/sign-in/renew      a token that came from here for a newer one of the same subject
    GET  /v1/sign-in/start      off to the provider
    GET  /v1/sign-in/callback   and back, with a code for the page in the address' fragment

The page's address comes from the settings, or is what the server listens on, never from a request.
What is given is on record before it is given, and is checked against what was revoked after that.
A newer token has the moment of the sign-in from the one before, so that nothing lives on for ever;
its own begins before that one was looked at, so that a revocation meanwhile takes both. A token
that was minted, or is of another issuer, cannot be made to last here. Whatever goes wrong at the
provider is one of three codes for whoever asks; the trail has the reason.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from security.door_events import SignInRenewed, SignInSucceeded
from security.errors import KeyFileError, ProviderError, ProviderReason, TokenError
from security.keys import open_signing_key
from security.oidc import Provider, Question
from security.tokens import TokenPolicy, mint_token
from server import errors
from server.app import answer
from server.bodies import read_message
from server.crowd import customer_of
from server.door import Door, Ticket, read_credential
from server.errors import RefusedError
from server.grant import TRANSCRIBE_SCOPE, Grant
from server.reception import Reception
from server.recorder import Recorder, record_or_refuse
from server.sign_in_codes import Person, SignInCodes
from server.sign_in_journeys import JOURNEY_S, Journey, Journeys
from server.sign_in_settings import SignInSettings
from server.visitor import caller_of, knock_of

PROVIDER_SUBJECTS = "oidc:"
"""How the subjects of a provider's people begin: none that is minted may."""
CALLBACK = "/v1/sign-in/callback"
_START = "/v1/sign-in/start"
_PAGE_CODE_S = 60.0
_MOST_PARAMETER_CHARS = 8192
_COOKIE = "earwitness-sign-in"
_NO_STORE = {"cache-control": "no-store"}


class _Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str


@dataclass(frozen=True, slots=True)
class SignInParts:
    """What signing in is made of."""

    settings: SignInSettings
    address: str
    """The page's origin."""
    policy: TokenPolicy
    """Of our own tokens."""
    signing_key_file: Path
    door: Door
    reception: Reception
    trail: Recorder
    provider: Provider | None
    wall_clock: Callable[[], float]
    clock: Callable[[], float]
    """Monotonic."""


class SignIn:
    """Of one server."""

    def __init__(self, parts: SignInParts) -> None:
        self._parts = parts
        self._codes, self._journeys = SignInCodes(), Journeys()
        self._is_secure = parts.address.startswith("https:")
        self._cookie = f"__Host-{_COOKIE}" if self._is_secure else _COOKIE

    def start_address(self) -> str | None:
        """The page's address with a code for one person; None if the settings want none."""
        if not self._parts.settings.has_start_code:
            return None
        person = Person(f"page-{secrets.token_hex(4)}", "start_code")
        lifetime_s = self._parts.settings.code_lifetime_s
        code = self._codes.issue(person, lifetime_s, self._parts.clock())
        return f"{self._parts.address}/#code={code}"

    def routes(self) -> list[BaseRoute]:
        """All of it."""
        return [
            Route("/v1/sign-in", self._show, methods=["GET"]),
            Route("/v1/sign-in", self._sign_in, methods=["POST"]),
            Route("/v1/sign-in/renew", self._renew, methods=["POST"]),
            Route(_START, self._start, methods=["GET"]),
            Route(CALLBACK, self._callback, methods=["GET"]),
        ]

    async def _show(self, _request: Request) -> Response:
        provider = self._parts.provider
        shown = provider and {"name": provider.name, "start": self._parts.address + _START}
        return JSONResponse({"provider": shown})

    async def _sign_in(self, request: Request) -> Response:
        async def work() -> Response:
            _check_json(request)
            code = (await read_message(request, _Code)).code
            browser = request.cookies.get(self._cookie)
            person = self._codes.redeem(code, self._parts.clock(), browser)
            response = await self._give(request, person)
            self._set_cookie(response, "", 0)
            return response

        return await self._answered(request, work)

    async def _renew(self, request: Request) -> Response:
        wall_s = self._parts.wall_clock()
        try:
            grant = await self._parts.reception.admit(request)
        except RefusedError as refused:
            return answer(refused.refusal)
        return await self._answered(
            request, lambda: self._give_newer(request, grant, wall_s), grant
        )

    async def _start(self, request: Request) -> Response:
        async def work() -> Response:
            provider = self._provider()
            customer = customer_of(request.client.host if request.client else None)
            journey = self._journeys.begin(customer, self._parts.clock())
            question = Question(journey.state, journey.nonce, journey.challenge, self._callback_uri)
            try:
                to = await provider.address_for(question)
            except ProviderError as error:
                raise _refused_by(error) from None
            response = _redirect(to)
            self._set_cookie(response, journey.browser, JOURNEY_S)
            return response

        return await self._sent_back(request, work)

    async def _callback(self, request: Request) -> Response:
        async def work() -> Response:
            provider = self._provider()
            browser = request.cookies.get(self._cookie)
            state = _one(request, "state") or ""
            journey = self._journeys.end(state, browser, self._parts.clock())
            try:
                await provider.check_answerer(_one(request, "iss"))
                subject = await self._subject(provider, request, journey)
            except ProviderError as error:
                raise _refused_by(error) from None
            except TokenError as error:
                raise RefusedError(errors.SIGN_IN_FAILED, f"id_token_{error.reason}") from None
            now_s = self._parts.clock()
            person = Person(subject, "provider")
            code = self._codes.issue(person, _PAGE_CODE_S, now_s, journey.browser)
            return self._to_page(f"code={code}")

        return await self._sent_back(request, work)

    async def _subject(self, provider: Provider, request: Request, journey: Journey) -> str:
        code, error = _one(request, "code"), _one(request, "error")
        if error is not None or code is None:
            raise RefusedError(errors.SIGN_IN_FAILED, "provider_said_no")
        name = await provider.subject_of(
            code, journey.verifier, journey.nonce, self._callback_uri, self._parts.wall_clock
        )
        return subject_of(provider.issuer, name)

    async def _give(self, request: Request, person: Person) -> Response:
        wall_s, caller = self._parts.wall_clock(), caller_of(request)
        token_id, lifetime_s = secrets.token_hex(16), self._parts.settings.token_lifetime_s
        token = await self._mint(person.subject, token_id, lifetime_s, wall_s, int(wall_s))
        event = SignInSucceeded(
            subject=person.subject,
            issuer=self._parts.policy.issuer,
            token_id=token_id,
            **caller.shown,
            method=person.method,
        )
        return await self._handed_over(event, token, lifetime_s, wall_s)

    async def _give_newer(self, request: Request, grant: Grant, wall_s: float) -> Response:
        if isinstance(read_credential(knock_of(request)), Ticket):
            raise RefusedError(errors.FORBIDDEN, "ticket_for_token")
        signed_in_at_s = grant.signed_in_at_s
        if signed_in_at_s is None or grant.issuer != self._parts.policy.issuer:
            raise RefusedError(errors.FORBIDDEN, "not_signed_in")
        left_s = signed_in_at_s + self._parts.settings.longest_s - int(wall_s)
        lifetime_s = min(self._parts.settings.token_lifetime_s, left_s)
        if lifetime_s <= 0:
            raise RefusedError(errors.UNAUTHENTICATED, "sign_in_over")
        token_id, caller = secrets.token_hex(16), caller_of(request)
        token = await self._mint(grant.subject, token_id, lifetime_s, wall_s, signed_in_at_s)
        event = SignInRenewed(
            subject=grant.subject,
            issuer=grant.issuer,
            token_id=token_id,
            former_token_id=grant.token_id,
            **caller.shown,
        )
        response = await self._handed_over(event, token, lifetime_s, wall_s)
        self._parts.door.check(grant, TRANSCRIBE_SCOPE)  # the old one, since it was looked at
        return response

    async def _handed_over(
        self, event: SignInSucceeded | SignInRenewed, token: str, lifetime_s: int, wall_s: float
    ) -> Response:
        await record_or_refuse(self._parts.trail, event)
        await self._parts.door.grant(token, wall_s)  # the key may be revoked, or the subject
        body = {"token": token, "expires_in_s": lifetime_s}
        return JSONResponse(body, headers=_NO_STORE)

    async def _mint(
        self, subject: str, token_id: str, lifetime_s: int, wall_s: float, signed_in_at_s: int
    ) -> str:
        try:
            signing_key = await asyncio.to_thread(open_signing_key, self._parts.signing_key_file)
        except KeyFileError:
            raise RefusedError(errors.INTERNAL, "signing_key_unusable") from None
        return mint_token(
            signing_key,
            self._parts.policy,
            subject=subject,
            scopes={TRANSCRIBE_SCOPE},
            lifetime_s=lifetime_s,
            wall_s=wall_s,
            token_id=token_id,
            signed_in_at_s=signed_in_at_s,
        )

    async def _answered(
        self,
        request: Request,
        work: Callable[[], Awaitable[Response]],
        grant: Grant | None = None,
    ) -> Response:
        try:
            return await self._parts.reception.attend(request, work, grant)
        except RefusedError as refused:
            return answer(refused.refusal)

    async def _sent_back(
        self, request: Request, work: Callable[[], Awaitable[Response]]
    ) -> Response:
        """What goes wrong is told by the page."""
        try:
            return await self._parts.reception.attend(request, work)
        except RefusedError as refused:
            return self._to_page(f"problem={refused.refusal.code}")

    def _provider(self) -> Provider:
        if self._parts.provider is None:
            raise RefusedError(errors.SIGN_IN_FAILED, "no_provider")
        return self._parts.provider

    @property
    def _callback_uri(self) -> str:
        return self._parts.address + CALLBACK

    def _to_page(self, fragment: str) -> Response:
        return _redirect(f"{self._parts.address}/#{fragment}")

    def _set_cookie(self, response: Response, secret: str, lifetime_s: int) -> None:
        response.set_cookie(
            self._cookie,
            secret,
            max_age=lifetime_s,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )


def subject_of(issuer: str, name: str) -> str:
    """What we call whom a provider calls so: other providers' people, and ours, are others."""
    return f"{PROVIDER_SUBJECTS}{sha256(issuer.encode()).hexdigest()[:12]}:{name}"


def _redirect(to: str) -> Response:
    return RedirectResponse(to, status_code=302, headers=_NO_STORE)


def _refused_by(error: ProviderError) -> RefusedError:
    is_away = error.reason is ProviderReason.UNREACHABLE
    refusal = errors.PROVIDER_UNAVAILABLE if is_away else errors.SIGN_IN_FAILED
    return RefusedError(refusal, f"provider_{error.reason}")


def _check_json(request: Request) -> None:
    """What no form of another page can send without asking first. Raises RefusedError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(errors.BAD_REQUEST, "not_json")


def _one(request: Request, name: str) -> str | None:
    """A parameter of the address, which may be there once. Raises RefusedError."""
    values = request.query_params.getlist(name)
    if len(values) > 1 or any(len(value) > _MOST_PARAMETER_CHARS for value in values):
        raise RefusedError(errors.SIGN_IN_FAILED, "callback_malformed")
    return values[0] if values else None
