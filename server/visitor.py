"""A request or a handshake in; what it shows of its peer, for the door and for the trail, out."""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from server.dialects.values import Upgrade
from server.door import Knock
from server.session_values import Caller


def caller_of(peer: HTTPConnection) -> Caller:
    """What was shown, for the trail."""
    client = peer.client
    return Caller(
        address=client.host if client else "",
        origin=peer.headers.get("origin"),
        user_agent=peer.headers.get("user-agent"),
        port=(client.port or None) if client else None,
    )


def knock_of(peer: HTTPConnection) -> Knock:
    """What was shown, for the door."""
    return Knock(
        headers=_headers(peer.headers),
        subprotocols=peer.scope.get("subprotocols", ()),
        tickets=peer.query_params.getlist("ticket"),
    )


def upgrade_of(peer: HTTPConnection) -> Upgrade:
    """What was shown, for a dialect."""
    scope = peer.scope
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return Upgrade(
        target=(path + (b"?" + query if query else b"")).decode("latin-1"),
        headers=_headers(peer.headers),
        query=peer.query_params.multi_items(),
        subprotocols=scope.get("subprotocols", ()),
    )


def _headers(headers: Headers) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]
