"""A URL and a token in; an open WebSocket that speaks `earwitness.v1`, or one typed error, out.

The connection goes straight to the server: neither a proxy from the environment nor the target of
a redirect gets to see the token. TLS certificates are checked against the system's, or against
SSL_CERT_FILE. websockets writes the headers of the handshake into its debug log, so it gets a
logger that says nothing. A denied handshake becomes a `RefusedError` with the code and the text
that the server put into its answer.
"""

import logging
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol

from client.conversation import wrong_protocol
from client.errors import ConnectionLostError, RefusedError, UnusableError, clean_text
from server.wire import PROTOCOL, RESUME_PREFIX

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
PING_INTERVAL_S = 20.0
PING_TIMEOUT_S = 300.0
"""Long: a ping waits behind the audio that a busy server has not read yet."""
MAX_EVENT_BYTES = 262_144
MAX_DENIAL_BYTES = 4096

_PORTS = {"ws": 80, "wss": 443}
_BAD_URL = "The address must look like ws://host:port/v1/stream, or wss://…"
_USUAL_PATH = "/v1/stream"
_WRONG_PATH = (403, 404)
"""What servers say where nothing listens."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")
"""RFC 6750, section 2.1; also keeps line ends out of the header."""


class Denial(msgspec.Struct, frozen=True):
    """The body of a denied handshake."""

    code: str
    message: str


@asynccontextmanager
async def open_socket(
    url: str, token: str, resume_key: str | None = None
) -> AsyncIterator[ClientConnection]:
    """Knock, and close the connection in the end; with a key, to go on with a session. Raises any
    ClientError but SourceError.
    """
    host, port = check_url(url)
    if not _TOKEN.fullmatch(token):
        raise UnusableError("The token is not a bearer token.")
    socket = await _shake_hands(url, token, host, port, resume_key)
    try:
        if socket.subprotocol != PROTOCOL:
            raise wrong_protocol()
        yield socket
    finally:
        await socket.close()


def check_url(url: str) -> tuple[str, int]:
    """The host and port. Raises UnusableError, whose text repeats nothing of a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnusableError(_BAD_URL) from None
    if parts.scheme not in _PORTS or not host or parts.fragment:
        raise UnusableError(_BAD_URL)
    if parts.username is not None or parts.query:
        raise UnusableError("The address must hold no name, password or query.")
    return host, port or _PORTS[parts.scheme]


async def _shake_hands(
    url: str, token: str, host: str, port: int, resume_key: str | None
) -> ClientConnection:
    offers = [PROTOCOL] if resume_key is None else [PROTOCOL, RESUME_PREFIX + resume_key]
    try:
        return await open_websocket(
            url,
            host=host,  # named, so that websockets follows no redirect to another one
            port=port,
            subprotocols=[Subprotocol(offer) for offer in offers],
            additional_headers={"Authorization": f"Bearer {token}"},
            user_agent_header=None,
            compression=None,
            proxy=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_size=MAX_EVENT_BYTES,
            logger=_silent_logger(),
        )
    except InvalidStatus as refusal:
        raise _refused(refusal.response, url, token, resume_key) from None
    except OSError as error:  # before ValueError, which an untrusted certificate is, too
        raise ConnectionLostError(f"Could not reach the server: {_reason(error)}.") from None
    except ValueError:
        raise ConnectionLostError("The server sends its clients to another address.") from None
    except WebSocketException:
        raise ConnectionLostError("What answered there is no WebSocket server.") from None


def _refused(response: Response, url: str, token: str, resume_key: str | None) -> RefusedError:
    status = response.status_code
    try:
        denial = msgspec.json.decode(response.body[:MAX_DENIAL_BYTES], type=Denial)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        denial = Denial(f"http_{status}", _spell_status(status, url))
    code, message = denial.code, denial.message
    for secret in (token, resume_key):
        if secret:
            code, message = code.replace(secret, "…"), message.replace(secret, "…")
    return RefusedError(clean_text(code), clean_text(message), status)


def _spell_status(status: int, url: str) -> str:
    text = f"The server refused the connection with HTTP {status}."
    if status in _WRONG_PATH and not urlsplit(url).path.endswith(_USUAL_PATH):
        text += f" The address usually ends in {_USUAL_PATH}."
    return text


def _reason(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return "TLS failed"
        case TimeoutError():
            return "no answer in time"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return "it hung up"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case _:
            return (error.strerror or "none of its addresses answered").lower()


def _silent_logger() -> logging.Logger:
    logger = logging.Logger("websockets")  # noqa: LOG001 outside the hierarchy, nobody can enable it
    logger.disabled = True
    return logger
