"""A document of keys, as an issuer who has gone mad might publish it."""

from security.errors import TokenKeyError
from security.token_keys import ALGORITHMS, TokenKey, decode_jwks
from tests.security.forge import jwk, jwks

MAX_BYTES = 4_096
SEEDS = [jwks(jwk("ES256"), jwk("EdDSA")), jwks(jwk("RS256")), b'{"keys":[]}', b""]


def fuzz_jwks(data: bytes) -> None:
    """Whatever a document holds, what is made of it is a key of the algorithm, or nothing is."""
    for algorithm in ALGORITHMS:
        try:
            keys = decode_jwks(data, algorithm)
        except TokenKeyError:
            continue
        for key in keys.keys:
            assert isinstance(key, TokenKey)
            assert key.algorithm == algorithm != "HS256"
            assert keys.find(key.key_id, float("-inf")) is key
