"""A stand-in for AWS KMS on this machine; pack keys wrapped there, or refusals, out."""

import json
import socket
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from security.errors import KekError
from security.keks.awskms import open_awskms_kek
from security.secret import SecretBytes

CONTEXT = b"earwitness-pack/1|slot|" + bytes(32)
PRIVATE = "an-access-key-nobody-may-see"


@pytest.fixture(scope="module")
def _moto():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PRIVATE)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture
def kms(_moto, credentials, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", _moto)
    return boto3.client("kms")


@pytest.fixture
def arn(kms):
    return kms.create_key()["KeyMetadata"]["Arn"]


class Answering(BaseHTTPRequestHandler):
    """Says to everything what the server was told to say."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.server.answer
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def answering(credentials, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def pack_key():
    return SecretBytes(bytearray(range(32)))


def refusal(place="alias/earwitness"):
    with pytest.raises(KekError) as caught:
        open_awskms_kek(place).unwrap(b"wrapped", CONTEXT)
    assert PRIVATE not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def test_a_wrapped_key_comes_back(arn):
    wrapped = open_awskms_kek(arn).wrap(pack_key(), CONTEXT)
    assert open_awskms_kek(arn).unwrap(wrapped, CONTEXT) == pack_key()


def test_a_key_may_be_named_by_its_id_or_an_alias(kms, arn):
    kms.create_alias(AliasName="alias/earwitness", TargetKeyId=arn)
    wrapped = open_awskms_kek("alias/earwitness").wrap(pack_key(), CONTEXT)
    key_id = arn.rpartition("/")[2]
    assert open_awskms_kek(key_id).unwrap(wrapped, CONTEXT) == pack_key()
    assert open_awskms_kek("alias/earwitness").unwrap(wrapped, CONTEXT) == pack_key()


def test_a_key_wrapped_for_another_pack_does_not_come_back(arn):
    wrapped = open_awskms_kek(arn).wrap(pack_key(), CONTEXT)
    assert open_awskms_kek(arn).unwrap(wrapped, CONTEXT + b"!") is None


def test_another_key_does_not_unwrap(kms, arn):
    # The stand-in refuses what KMS itself answers with IncorrectKeyException; see below.
    other = kms.create_key()["KeyMetadata"]["Arn"]
    wrapped = open_awskms_kek(other).wrap(pack_key(), CONTEXT)
    with pytest.raises(KekError):
        open_awskms_kek(arn).unwrap(wrapped, CONTEXT)


def test_what_another_key_unwrapped_is_not_taken(answering):
    key = "arn:aws:kms:eu-central-1:123456789012:key/"
    answering.answer = 200, {"Plaintext": b64encode(bytes(32)).decode(), "KeyId": key + "b"}
    assert open_awskms_kek(key + "a").unwrap(b"wrapped", CONTEXT) is None
    assert open_awskms_kek(key + "b").unwrap(b"wrapped", CONTEXT) is not None


def test_a_damaged_ciphertext_does_not_come_back(arn):
    wrapped = bytearray(open_awskms_kek(arn).wrap(pack_key(), CONTEXT))
    wrapped[-1] ^= 1
    assert open_awskms_kek(arn).unwrap(bytes(wrapped), CONTEXT) is None


@pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
def test_a_ciphertext_that_kms_calls_wrong_does_not_come_back(answering, code):
    answering.answer = 400, {"__type": code}
    assert open_awskms_kek("alias/earwitness").unwrap(b"wrapped", CONTEXT) is None


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("NotFoundException", "no such key"),
        ("DisabledException", "enable it again"),
        ("AccessDeniedException", "allow kms:Encrypt and kms:Decrypt"),
        ("SomethingNewException", "check the credentials and the key's policy"),
    ],
)
def test_a_refusal_of_kms_says_what_to_do(answering, code, hint):
    answering.answer = 400, {"__type": code, "message": PRIVATE}
    assert hint in refusal()


def test_an_answer_without_a_key_is_no_key(answering):
    answering.answer = 200, {"Plaintext": "c2hvcnQ="}
    assert open_awskms_kek("alias/earwitness").unwrap(b"wrapped", CONTEXT) is None


def test_an_answer_without_a_ciphertext_is_refused(answering):
    answering.answer = 200, {}
    with pytest.raises(KekError, match="check the endpoint"):
        open_awskms_kek("alias/earwitness").wrap(pack_key(), CONTEXT)


@pytest.mark.usefixtures("credentials")
def test_a_kms_that_is_down_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{port}")
    assert "cannot be asked" in refusal()


@pytest.mark.usefixtures("credentials")
def test_without_a_region_there_is_nobody_to_ask(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert "check region" in refusal()


def test_without_the_library_its_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert "pip install 'earwitness[awskms]'" in refusal()


def test_a_kek_names_the_key_as_the_operator_does():
    kek = open_awskms_kek("alias/earwitness")
    assert kek.kek_id == "awskms:alias/earwitness"
    assert repr(kek) == "AwsKmsKek('awskms:alias/earwitness')"


@pytest.mark.parametrize("place", ["", "a b", "arn:aws:s3:::bucket", "arn:aws:kms:eu:1:key/x", "ä"])
def test_what_is_no_key_in_kms_is_refused(place):
    with pytest.raises(KekError, match="awskms:KEY-ID"):
        open_awskms_kek(place)
