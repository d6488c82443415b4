"""A question to somebody else's server in, its answer out, if it is one that we want.

The answer is a stranger's: no redirect, cookie or proxy of the environment, no compression, a cap
on its length and on the time it takes. Nothing of it is in an error.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2

from security.errors import AnswerError

_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Way:
    """By which others are reached, and how long and how much they may answer."""

    limit_s: float
    most_bytes: int
    ca_file: Path | None = None
    """Whom to trust for https instead of the system's authorities."""
    proxy: str | None = None


async def ask(
    url: str,
    way: Way,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """What is there, or what answers a form that is posted there. Raises AnswerError."""
    try:
        trust = await asyncio.to_thread(ssl.create_default_context, cafile=way.ca_file)
        async with (
            asyncio.timeout(way.limit_s),
            httpx2.AsyncClient(
                verify=trust,
                proxy=way.proxy,
                trust_env=False,
                follow_redirects=False,
                timeout=way.limit_s,
            ) as client,
            client.stream(
                "GET" if form is None else "POST",
                url,
                headers={**_HEADERS, **(headers or {})},
                data=form,
            ) as response,
        ):
            return await _body(response, way.most_bytes)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError):
        raise AnswerError("the address cannot be reached", is_answered=False) from None


async def _body(response: httpx2.Response, most_bytes: int) -> bytes:
    if response.status_code != HTTPStatus.OK:  # a redirect included
        is_answered = HTTPStatus.BAD_REQUEST <= response.status_code < _FAULTS_OF_SERVERS
        raise AnswerError("the address does not answer with it", is_answered=is_answered)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerError("the answer comes compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most_bytes:
            raise AnswerError(f"the answer is longer than {most_bytes} bytes")
    return bytes(body)


_FAULTS_OF_SERVERS = 500
