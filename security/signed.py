"""The text of a signed token in; its header, its payload and whether a key signed it out.

The signature layer alone (JWS in its compact form, RFC 7515), without a word on what the token
claims: the algorithm is the key's, whatever the header says, and only one spelling is read. PyJWT
compares the signature; its own reading of the text is left aside, because it is laxer, and takes a
millisecond for what is thrown away. ECDSA has two signatures for one text and key; whoever keeps a
list of tokens keeps their ids.
"""

from dataclasses import dataclass

import jwt

from security.errors import TokenError, TokenReason
from security.secret import SecretBytes
from security.spelling import decode_base64url, decode_object
from security.token_keys import ALGORITHMS, TokenKey

_ALGORITHMS = {name: jwt.get_algorithm_by_name(name) for name in ALGORITHMS}


@dataclass(frozen=True, slots=True)
class SignedText:
    """A token in its parts, of which nothing is verified."""

    header: dict[str, object]
    payload: bytes
    signed: bytes
    """Header and payload as they were sent, which is what the signature is of."""
    signature: bytes

    def check(self, key: TokenKey) -> None:
        """Whether `key` signed it, under the key's algorithm and no other. Raises TokenError."""
        if self.header.get("alg") != key.algorithm:
            raise TokenError(TokenReason.WRONG_ALGORITHM)
        algorithm, material = _ALGORITHMS[key.algorithm], key.material
        exposed = bytes(material.expose()) if isinstance(material, SecretBytes) else material
        if not algorithm.verify(self.signed, exposed, self.signature):
            raise TokenError(TokenReason.BAD_SIGNATURE)


def read_signed(token: str) -> SignedText:
    """The parts, if each is spelled in its one way; the length is the caller's to check.

    Raises TokenError.
    """
    segments = token.split(".", 3)
    if len(segments) != 3:
        raise TokenError(TokenReason.MALFORMED)
    try:
        header, payload, signature = map(decode_base64url, segments)
    except ValueError:
        raise TokenError(TokenReason.MALFORMED) from None
    signed = f"{segments[0]}.{segments[1]}".encode("ascii")
    return SignedText(decode_part(header), payload, signed, signature)


def decode_part(encoded: bytes) -> dict[str, object]:
    """The JSON object in a segment. Raises TokenError."""
    try:
        return decode_object(encoded)
    except ValueError:
        raise TokenError(TokenReason.MALFORMED) from None
