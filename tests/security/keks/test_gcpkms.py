"""A stand-in for Google Cloud KMS that speaks its gRPC; keys wrapped there, or refusals, out."""

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1 import DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse

from security.errors import KekError
from security.keks.gcpkms import ENDPOINT_VARIABLE, crc32c, open_gcpkms_kek
from security.secret import SecretBytes

SERVICE = "google.cloud.kms.v1.KeyManagementService"
KEY = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/kek"
OTHER = KEY + "-2"
CONTEXT = b"earwitness-pack/1|slot|" + bytes(32)
PRIVATE = "a text of the server's that nobody may see"


class Kms:
    """What the service does with a few keys."""

    def __init__(self):
        self.keys = {KEY: AESGCM(os.urandom(32)), OTHER: AESGCM(os.urandom(32))}
        self.failure = None
        self.changes = {}
        """Fields of the answer that come out otherwise."""

    def handlers(self):
        methods = {
            "Encrypt": (self.encrypt, EncryptRequest, EncryptResponse),
            "Decrypt": (self.decrypt, DecryptRequest, DecryptResponse),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    method,
                    request_deserializer=request.deserialize,
                    response_serializer=response.serialize,
                )
                for name, (method, request, response) in methods.items()
            },
        )

    def encrypt(self, request, call):
        cipher = self.cipher(request, call)
        bound = request.additional_authenticated_data
        assert request.plaintext_crc32c == crc32c(request.plaintext)
        assert request.additional_authenticated_data_crc32c == crc32c(bound)
        nonce = os.urandom(12)
        ciphertext = nonce + cipher.encrypt(nonce, request.plaintext, bound)
        fields = {
            "name": request.name + "/cryptoKeyVersions/1",
            "ciphertext": ciphertext,
            "ciphertext_crc32c": crc32c(ciphertext),
            "verified_plaintext_crc32c": True,
            "verified_additional_authenticated_data_crc32c": True,
        }
        return EncryptResponse(fields | self.changes)

    def decrypt(self, request, call):
        cipher = self.cipher(request, call)
        sealed = request.ciphertext
        assert request.ciphertext_crc32c == crc32c(sealed)
        try:
            plain = cipher.decrypt(sealed[:12], sealed[12:], request.additional_authenticated_data)
        except (InvalidTag, ValueError):
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, "Decryption failed: it is invalid.")
        fields = {"plaintext": plain, "plaintext_crc32c": crc32c(plain)}
        return DecryptResponse(fields | self.changes)

    def cipher(self, request, call):
        if self.failure is not None:
            call.abort(*self.failure)
        return self.keys[request.name]


@pytest.fixture
def kms(monkeypatch):
    kms = Kms()
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((kms.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        monkeypatch.setenv(ENDPOINT_VARIABLE, f"127.0.0.1:{port}")
        yield kms
        server.stop(None).wait()


def pack_key():
    return SecretBytes(bytearray(range(32)))


def wrapped_by(name=KEY):
    return open_gcpkms_kek(name).wrap(pack_key(), CONTEXT)


def refusal():
    with pytest.raises(KekError) as caught:
        open_gcpkms_kek(KEY).unwrap(b"wrapped by nobody", CONTEXT)
    assert PRIVATE not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.usefixtures("kms")
def test_a_wrapped_key_comes_back():
    assert open_gcpkms_kek(KEY).unwrap(wrapped_by(), CONTEXT) == pack_key()


@pytest.mark.usefixtures("kms")
def test_a_key_wrapped_for_another_pack_does_not_come_back():
    assert open_gcpkms_kek(KEY).unwrap(wrapped_by(), CONTEXT + b"!") is None


@pytest.mark.usefixtures("kms")
def test_another_key_does_not_unwrap():
    assert open_gcpkms_kek(KEY).unwrap(wrapped_by(OTHER), CONTEXT) is None


@pytest.mark.usefixtures("kms")
def test_a_damaged_ciphertext_does_not_come_back():
    wrapped = bytearray(wrapped_by())
    wrapped[20] ^= 1
    assert open_gcpkms_kek(KEY).unwrap(bytes(wrapped), CONTEXT) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"verified_plaintext_crc32c": False},
        {"verified_additional_authenticated_data_crc32c": False},
        {"ciphertext_crc32c": 7},
        {"name": OTHER + "/cryptoKeyVersions/1"},
    ],
)
def test_a_wrapping_garbled_on_the_way_is_refused(kms, changes):
    kms.changes = changes
    with pytest.raises(KekError, match="do not read the same bytes"):
        wrapped_by()


def test_a_pack_key_garbled_on_the_way_is_refused(kms):
    wrapped = wrapped_by()
    kms.changes = {"plaintext_crc32c": 7}
    with pytest.raises(KekError, match="do not read the same bytes"):
        open_gcpkms_kek(KEY).unwrap(wrapped, CONTEXT)


def test_a_plaintext_that_is_no_pack_key_does_not_come_back(kms):
    wrapped = wrapped_by()
    kms.changes = {"plaintext": b"short", "plaintext_crc32c": crc32c(b"short")}
    assert open_gcpkms_kek(KEY).unwrap(wrapped, CONTEXT) is None


@pytest.mark.parametrize(
    ("status", "text", "hint"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "ciphertext_crc32c is off", "refuses the request"),
        (grpc.StatusCode.FAILED_PRECONDITION, PRIVATE, "must be enabled"),
        (grpc.StatusCode.UNAUTHENTICATED, PRIVATE, "application-default login"),
        (grpc.StatusCode.PERMISSION_DENIED, PRIVATE, "cryptoKeyEncrypterDecrypter"),
        (grpc.StatusCode.NOT_FOUND, PRIVATE, "no such key"),
        (grpc.StatusCode.UNAVAILABLE, PRIVATE, "cannot be asked now"),
    ],
)
def test_a_refusal_of_kms_says_what_to_do(kms, status, text, hint):
    kms.failure = status, text
    assert hint in refusal()


def test_a_kms_that_is_down_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv(ENDPOINT_VARIABLE, f"127.0.0.1:{port}")
    assert "cannot be asked now" in refusal()


@pytest.mark.parametrize("endpoint", ["kms.test:443", "10.0.0.1:443", "127.0.0.1", "localhost:1"])
def test_a_stand_in_on_another_machine_is_refused(monkeypatch, endpoint):
    monkeypatch.setenv(ENDPOINT_VARIABLE, endpoint)
    assert refusal() == f"{ENDPOINT_VARIABLE} must be 127.0.0.1:PORT or [::1]:PORT"


def test_without_credentials_the_way_to_them_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv(ENDPOINT_VARIABLE, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert "application-default login" in refusal()


def test_without_the_library_its_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.kms_v1", None)
    assert "pip install 'earwitness[gcpkms]'" in refusal()


def test_the_checksum_is_that_of_rfc_3720():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_a_kek_names_the_key():
    kek = open_gcpkms_kek(KEY)
    assert kek.kek_id == f"gcpkms:{KEY}"
    assert repr(kek) == f"GcpKmsKek('gcpkms:{KEY}')"


@pytest.mark.parametrize("name", ["", "kek", KEY + "/cryptoKeyVersions/1", KEY + "?", "../" + KEY])
def test_what_is_no_key_in_kms_is_refused(name):
    with pytest.raises(KekError, match="gcpkms:projects"):
        open_gcpkms_kek(name)
