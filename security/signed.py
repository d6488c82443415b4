"""The text of a signed token in; its header, its payload and whether a key signed it out.

The signature layer alone (JWS in its compact form, RFC 7515), without a word on what the token
claims: the algorithm is the key's, whatever the header says, and only one spelling is read. ECDSA
has two signatures for one text and key; whoever keeps a list of tokens keeps their ids.
"""

import jwt

from security.errors import TokenError, TokenReason
from security.secret import SecretBytes
from security.spelling import decode_base64url, decode_object
from security.token_keys import ALGORITHMS, TokenKey

_SIGNATURES = {
    algorithm: jwt.PyJWS([algorithm], {"enforce_minimum_key_length": True})
    for algorithm in ALGORITHMS
}


def split_token(token: str) -> tuple[dict[str, object], bytes]:
    """The header and the payload, if both and the signature are spelled in their one way.

    Nothing is verified, and the length is the caller's to check. Raises TokenError.
    """
    segments = token.split(".", 3)
    if len(segments) != 3:
        raise TokenError(TokenReason.MALFORMED)
    try:
        header, payload, _ = map(decode_base64url, segments)
    except ValueError:
        raise TokenError(TokenReason.MALFORMED) from None
    return decode_part(header), payload


def check_signature(token: str, key: TokenKey) -> None:
    """Whether `key` signed it, under the key's algorithm and no other. Raises TokenError."""
    material = key.material
    secret = bytes(material.expose()) if isinstance(material, SecretBytes) else material
    try:
        _SIGNATURES[key.algorithm].decode(token, secret, [key.algorithm])
    except jwt.InvalidAlgorithmError:
        raise TokenError(TokenReason.WRONG_ALGORITHM) from None
    except jwt.PyJWTError:
        raise TokenError(TokenReason.BAD_SIGNATURE) from None


def decode_part(encoded: bytes) -> dict[str, object]:
    """The JSON object in a segment. Raises TokenError."""
    try:
        return decode_object(encoded)
    except ValueError:
        raise TokenError(TokenReason.MALFORMED) from None
