"""A provider of identities on loopback: says who somebody is, as the standards have it or as one of
its faults has it.
"""

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote_plus, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from security.provider_settings import ProviderSettings
from tests.security.forge import forged, jwk, jwks, private_key

CLIENT_ID = "earwitness-page"
CLIENT_SECRET = "a secret: with+signs"  # noqa: S105 (of the tests)


@dataclass
class Given:
    """What a code stands for."""

    challenge: str
    nonce: str
    redirect_uri: str


@dataclass
class FakeProvider:
    """Everybody who comes is `subject`; nobody is asked."""

    address: str = ""
    subject: str = "u-17"
    algorithm: str = "RS256"
    secret: str | None = None
    metadata: dict = field(default_factory=dict)
    """In the place of what it would say."""
    claims: dict = field(default_factory=dict)
    """None takes one away."""
    head: dict = field(default_factory=dict)
    signed_as: str | None = None
    published: bytes | None = None
    token_answer: Response | None = None
    callback: dict = field(default_factory=dict)
    """What comes back beside or in the place of code, state and iss."""
    wall_s: float | None = None
    codes: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    """Paths, in their order."""

    @property
    def settings(self) -> ProviderSettings:
        return ProviderSettings(self.address, CLIENT_ID, "Ward Login", algorithm=self.algorithm)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._jwks),
            ]
        )

    async def _metadata(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        said = {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize?realm=ward",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/jwks",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return JSONResponse({name: value for name, value in said.items() if value is not None})

    async def _jwks(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return Response(self.published or jwks(jwk(self.algorithm)))

    async def _authorize(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return RedirectResponse(self.authorized(request.url.query), 302)

    def authorized(self, query: str) -> str:
        """Where somebody is sent with their code."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        assert asked["realm"] == "ward"
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = Given(asked["code_challenge"], asked["nonce"], asked["redirect_uri"])
        back = {"code": code, "state": asked["state"], "iss": self.address, **self.callback}
        told = {name: value for name, value in back.items() if value is not None}
        return asked["redirect_uri"] + "?" + urlencode(told)

    async def _token(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        form = {
            name: values[0] for name, values in parse_qs((await request.body()).decode()).items()
        }
        given = self.codes.pop(form.get("code", ""), None)
        if self.token_answer is not None:
            return self.token_answer
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        is_good = (
            given is not None
            and form["grant_type"] == "authorization_code"
            and challenge == given.challenge
            and form["redirect_uri"] == given.redirect_uri
            and self._is_client(request, form)
        )
        if not is_good:
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = self.id_token(given.nonce)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    def _is_client(self, request: Request, form: dict) -> bool:
        if self.secret is None:
            return form["client_id"] == CLIENT_ID and "authorization" not in request.headers
        pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        return [unquote_plus(part) for part in pair.split(":")] == [CLIENT_ID, self.secret]

    def id_token(self, nonce: str) -> str:
        wall_s = int(self.wall_s or time.time())  # noqa: TID251 (a provider has a clock)
        said = {
            "iss": self.address,
            "aud": CLIENT_ID,
            "sub": self.subject,
            "nonce": nonce,
            "iat": wall_s,
            "exp": wall_s + 300,
            **self.claims,
        }
        payload = {name: value for name, value in said.items() if value is not None}
        algorithm = self.signed_as or self.algorithm
        head = {"alg": algorithm, "typ": "JWT", "kid": "k-1", **self.head}
        head = {name: value for name, value in head.items() if value is not None}
        key = private_key(algorithm) if algorithm != "none" else None
        return forged(head, json.dumps(payload).encode(), algorithm, key)


@contextmanager
def providing(provider: FakeProvider | None = None):
    """It answers until the block ends."""
    provider = provider or FakeProvider()
    listener = socket.create_server(("127.0.0.1", 0))
    provider.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(provider.app(), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield provider
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()
