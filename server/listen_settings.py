"""Settings of the socket: where the server is found, who may come, and how long they may take.

The defaults are for a network with strangers in it. What the limits are against is said in
`server/http_protocol.py` and `server/crowd.py`, which keep them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from server.forwarded import Networks
from server.listed import Listed

_MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where the server is found and who may come."""

    host: str = "127.0.0.1"
    port: int = 8765
    origins: Annotated[tuple[str, ...], Listed] = ()
    """Origins of pages that may connect, besides the server's own."""
    tls_cert: Path | None = None
    """Certificates in PEM, the server's own first. Read again when it changes."""
    tls_key: Path | None = None
    """Its key in PEM, without passphrase and closed to other accounts."""
    trusted_proxies: Annotated[tuple[str, ...], Listed] = ()
    """Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, such as
    `10.0.0.0/8`; `unix` for those that come through a Unix socket."""
    uncounted: Annotated[tuple[str, ...], Listed] = ("127.0.0.0/8", "::1")
    """Networks that `connections_per_address` is not for; trusted proxies are never counted."""
    connections_per_address: int = 64
    """Of IPv6, the first 64 bits count as one address: that is what one customer gets."""
    most_connections: int = 4096
    backlog: int = 1024
    """Connections that the kernel keeps until they are accepted."""
    most_sessions: int = 64
    most_frame_bytes: int = 262_144
    """A longer WebSocket message closes the connection with 1009."""
    tls_handshake_limit_s: float = 2.0
    head_limit_s: float = 5.0
    """From the connection, or from the last answer, to the last byte of a request's headers."""
    most_head_bytes: int = 16_384
    most_headers: int = 100
    upload_check_s: float = 5.0
    """How often it is asked whether an upload keeps its pace; it has this long to begin with."""
    least_bytes_per_s: int = 1024
    """Of a body that a peer sends, and of an answer that it reads."""
    upload_limit_s: float = 600.0
    """From a request's headers to the last byte of its body."""
    unread_limit_s: float = 20.0
    """How often it is asked whether a peer reads at that pace; and the time for the last of it."""
    close_limit_s: float = 10.0
    """How long a WebSocket's peer may take to answer a close."""
    access_log: bool = True
    metrics_from: Annotated[tuple[str, ...], Listed] = ("127.0.0.0/8", "::1")
    """Networks that `/metrics` answers; for all others there is no such page."""


def listen_faults(settings: ListenSettings) -> Iterator[str]:
    """What no single value's type can tell, by key and rule."""
    if not 0 <= settings.port <= _MOST_PORT:
        yield f"listen.port: 0 to {_MOST_PORT}"
    if (settings.tls_cert is None) != (settings.tls_key is None):
        yield "listen.tls_cert: tls_cert and tls_key go together"
    for key in ("trusted_proxies", "uncounted", "metrics_from"):
        try:
            Networks(getattr(settings, key))
        except ValueError:
            yield f"listen.{key}: networks such as 10.0.0.0/8, or unix"
    if settings.upload_check_s == 0:
        yield "listen.upload_check_s: above 0"
