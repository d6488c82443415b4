"""Text from a stranger in, bytes and JSON objects out, if it is their one spelling.

What can be spelled in two ways can be read in two ways: a key named twice in an object, padding,
and bits at the end of base64url that mean nothing are refused. So are NaN, infinities, and nesting
that the parser cannot follow.
"""

import base64
import json
from typing import Never


def decode_base64url(text: str) -> bytes:
    """The bytes of base64url without padding. Raises ValueError."""
    encoded = text.encode("ascii")
    decoded = base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("not the one spelling of these bytes")
    return decoded


def encode_base64url(content: bytes) -> str:
    """As `decode_base64url` reads it."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode_object(encoded: bytes) -> dict[str, object]:
    """The one JSON object that `encoded` holds. Raises ValueError."""
    try:
        decoded = json.loads(
            encoded.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(decoded, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (what was decoded, not who called)
    return decoded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key is named twice")
    return unique


def _refuse_constant(name: str) -> Never:
    raise ValueError("not a JSON number")
