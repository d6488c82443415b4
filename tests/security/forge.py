"""Tokens as nobody should make them: any header, any payload, under any key of any algorithm."""

import base64
import hashlib
import hmac
import json
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.secret import SecretBytes
from security.token_keys import KeySet, TokenKey
from security.tokens import TokenPolicy, TokenVerifier

NOW_S = 1_800_000_000
SECRET = bytes(range(100, 132))
AUDIENCE = "earwitness"
ISSUERS = {name: f"https://{name.lower()}.test" for name in ("EdDSA", "ES256", "RS256", "HS256")}
ED_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
EC_KEY = ec.derive_private_key(0xEA2, ec.SECP256R1())


@cache
def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


def private_key(algorithm):
    match algorithm:
        case "EdDSA":
            return ED_KEY
        case "ES256":
            return EC_KEY
        case "RS256":
            return rsa_key()
        case _:
            return SECRET


def token_key(algorithm, key_id="k-1"):
    key = private_key(algorithm)
    material = SecretBytes(bytearray(key)) if algorithm == "HS256" else key.public_key()
    return TokenKey(key_id, algorithm, material)


def verifier(*algorithms, **policy):
    """Of an issuer for each algorithm, with one key named k-1."""
    return TokenVerifier(
        (
            TokenPolicy(ISSUERS[algorithm], AUDIENCE, algorithm=algorithm, **policy),
            KeySet([token_key(algorithm)]),
        )
        for algorithm in algorithms or ISSUERS
    )


def claims(algorithm="EdDSA", **changes):
    return {
        "iss": ISSUERS[algorithm],
        "aud": AUDIENCE,
        "sub": "ward-7",
        "jti": "t-1",
        "iat": NOW_S,
        "exp": NOW_S + 600,
        "scope": "transcribe",
        **changes,
    }


def header(algorithm="EdDSA", **changes):
    return {"alg": algorithm, "typ": "at+jwt", "kid": "k-1", **changes}


def b64(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def encoded(part):
    return b64(part if isinstance(part, bytes) else json.dumps(part).encode())


def signature(algorithm, key, text):
    match algorithm:
        case "EdDSA":
            return key.sign(text)
        case "ES256":
            r, s = decode_dss_signature(key.sign(text, ec.ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case "RS256":
            return key.sign(text, padding.PKCS1v15(), SHA256())
        case "HS256":
            return hmac.digest(key, text, hashlib.sha256)
        case _:
            return b""


def forged(head, payload, algorithm, key):
    """Signed as `algorithm` has it, whatever the header says."""
    text = f"{encoded(head)}.{encoded(payload)}"
    return f"{text}.{b64(signature(algorithm, key, text.encode()))}"


def signed(algorithm="EdDSA", head=None, payload=None):
    """Honest, but for what the caller changes."""
    return forged(
        header(algorithm) if head is None else head,
        claims(algorithm) if payload is None else payload,
        algorithm,
        private_key(algorithm),
    )


def jwk(algorithm, **changes):
    """The public half, as its issuer publishes it."""
    key = private_key(algorithm)
    match algorithm:
        case "EdDSA":
            members = {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": b64(key.public_key().public_bytes_raw()),
            }
        case "ES256":
            numbers = key.public_key().public_numbers()
            members = {
                "kty": "EC",
                "crv": "P-256",
                "x": b64(numbers.x.to_bytes(32, "big")),
                "y": b64(numbers.y.to_bytes(32, "big")),
            }
        case _:
            members = rsa_jwk(key)
    return {**members, "kid": "k-1", "alg": algorithm, "use": "sig", **changes}


def rsa_jwk(key):
    numbers = key.public_key().public_numbers()
    return {
        "kty": "RSA",
        "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": b64(numbers.e.to_bytes(3, "big")),
    }


def jwks(*keys):
    return json.dumps({"keys": keys}).encode()


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def der(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
