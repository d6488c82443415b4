"""A stand-in for Vault's transit engine, driven through the real client; keys or refusals, out."""

import base64
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.errors import KekError
from security.keks.vault import open_vault_kek
from security.secret import SecretBytes

TOKEN = "hvs.a-token-nobody-may-see"  # noqa: S105 (of the stand-in)
CONTEXT = b"earwitness-pack/1|slot|" + bytes(32)
PLACE = "transit/earwitness"


class Transit(BaseHTTPRequestHandler):
    """The requests and answers of Vault's transit engine, for a few keys."""

    def do_POST(self):
        vault = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vault.seen.append(self.headers)
        if vault.answer is not None:
            return self.reply(*vault.answer)
        if self.headers["X-Vault-Token"] != TOKEN:
            return self.reply(403, {"errors": [f"permission denied for {TOKEN}"]})
        _, _, mount, verb, name = self.path.split("/")
        if mount != "transit":
            return self.reply(404, {"errors": [f"no handler for route {self.path}"]})
        if name not in vault.keys:
            return self.reply(400, {"errors": ["encryption key not found"]})
        return self.reply(*getattr(self, verb)(AESGCM(vault.keys[name]), body))

    def encrypt(self, cipher, body):
        plain, bound = (base64.b64decode(body[k]) for k in ("plaintext", "associated_data"))
        nonce = os.urandom(12)
        sealed = base64.b64encode(nonce + cipher.encrypt(nonce, plain, bound)).decode()
        return 200, {"data": {"ciphertext": f"vault:v1:{sealed}", "key_version": 1}}

    def decrypt(self, cipher, body):
        prefix, version, encoded = body["ciphertext"].split(":")
        assert (prefix, version) == ("vault", "v1")
        sealed, bound = base64.b64decode(encoded), base64.b64decode(body["associated_data"])
        try:
            plain = cipher.decrypt(sealed[:12], sealed[12:], bound)
        except InvalidTag:
            return self.server.wrong
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}

    def reply(self, status, body, headers=()):
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Vault(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Transit)
        self.keys = {"earwitness": os.urandom(32), "other": os.urandom(32)}
        self.wrong = 400, {"errors": ["invalid ciphertext: unable to decrypt"]}
        self.answer = None
        self.seen = []


@pytest.fixture
def vault(monkeypatch):
    with Vault() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name in ("VAULT_TOKEN_FILE", "VAULT_NAMESPACE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("VAULT_TOKEN", TOKEN)
        yield server
        server.shutdown()
        thread.join()


def pack_key():
    return SecretBytes(bytearray(range(32)))


def wrapped_by(place=PLACE):
    return open_vault_kek(place).wrap(pack_key(), CONTEXT)


def refusal(wrapped=b"vault:v1:AAAA"):
    """What the operator reads, once it is sure that it says nothing secret."""
    with pytest.raises(KekError) as caught:
        open_vault_kek(PLACE).unwrap(wrapped, CONTEXT)
    assert TOKEN not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.usefixtures("vault")
def test_a_wrapped_key_comes_back():
    wrapped = wrapped_by()
    assert wrapped.startswith(b"vault:v1:")
    assert open_vault_kek(PLACE).unwrap(wrapped, CONTEXT) == pack_key()


@pytest.mark.usefixtures("vault")
def test_a_key_wrapped_for_another_pack_does_not_come_back():
    assert open_vault_kek(PLACE).unwrap(wrapped_by(), CONTEXT + b"!") is None


@pytest.mark.usefixtures("vault")
def test_another_key_does_not_unwrap():
    assert open_vault_kek(PLACE).unwrap(wrapped_by("transit/other"), CONTEXT) is None


@pytest.mark.usefixtures("vault")
def test_a_damaged_ciphertext_does_not_come_back():
    wrapped = bytearray(wrapped_by())
    wrapped[40] = ord("A") if wrapped[40] != ord("A") else ord("B")
    assert open_vault_kek(PLACE).unwrap(bytes(wrapped), CONTEXT) is None


def test_a_wrong_ciphertext_is_told_from_a_fault_where_vault_reports_it_as_one(vault):
    # hashicorp/vault#10842
    text = "1 error occurred:\n\t* cipher: message authentication failed\n\n"
    vault.wrong = 500, {"errors": [text]}
    assert open_vault_kek(PLACE).unwrap(wrapped_by(), CONTEXT + b"!") is None


@pytest.mark.parametrize("wrapped", [b"", b"\xff", b"vault:v1:", b"vault:v1:A\n", b"vault:v0:AAAA"])
def test_what_vault_cannot_have_made_is_not_sent_there(vault, wrapped):
    assert open_vault_kek(PLACE).unwrap(wrapped, CONTEXT) is None
    assert vault.seen == []


@pytest.mark.parametrize("plaintext", ["c2hvcnQ=", "not base64!", "ä"])
def test_a_plaintext_that_is_no_pack_key_does_not_come_back(vault, plaintext):
    vault.answer = 200, {"data": {"plaintext": plaintext}}
    assert open_vault_kek(PLACE).unwrap(b"vault:v1:AAAA", CONTEXT) is None


def test_a_refused_token_says_what_the_policy_must_allow(vault, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "another")
    assert "transit/decrypt/earwitness" in refusal()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((503, {"errors": ["Vault is sealed"]}), "unseal it"),
        ((400, {"errors": ["encryption key not found"]}), "vault write -f transit/keys/earwitness"),
        ((404, {"errors": []}), "has no such key in service"),
        (
            (400, {"errors": ["disallowed by policy (too old)"]}),
            "min_decryption_version",
        ),
        ((500, {"errors": [TOKEN]}), "a fault of its own"),
        ((418, {"errors": [TOKEN]}), "a fault of its own"),
        ((200, {"data": {"strange": TOKEN}}), "check VAULT_ADDR"),
        ((204, {}), "check VAULT_ADDR"),
    ],
)
def test_a_refusal_of_vaults_says_what_to_do(vault, answer, hint):
    vault.answer = answer
    assert hint in refusal()


def test_a_strange_answer_to_wrapping_is_refused(vault):
    vault.answer = 200, {"data": {"ciphertext": 7}}
    with pytest.raises(KekError, match="check VAULT_ADDR"):
        wrapped_by()


def test_an_unknown_ciphertext_means_a_fault_when_wrapping(vault):
    vault.answer = 400, {"errors": ["invalid ciphertext"]}
    with pytest.raises(KekError, match="no such key in service"):
        wrapped_by()


def test_a_redirect_is_not_followed(vault):
    with Vault() as elsewhere:
        there = f"http://127.0.0.1:{elsewhere.server_port}/v1/transit/decrypt/earwitness"
        vault.answer = 307, {}, [("Location", there)]
        assert "check VAULT_ADDR" in refusal()
        assert elsewhere.seen == []


def test_on_this_machine_no_proxy_is_asked(vault, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert open_vault_kek(PLACE).unwrap(wrapped_by(), CONTEXT) == pack_key()
    assert len(vault.seen) == 2


def test_a_vault_that_is_down_is_named(vault, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{port}")
    assert "cannot be reached" in refusal()


def test_a_vault_that_takes_the_request_and_says_nothing_is_given_up(vault, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert "cannot be reached" in refusal()


def test_a_vault_that_only_pretends_to_speak_tls_gets_no_token(vault, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", os.environ["VAULT_ADDR"].replace("http:", "https:"))
    assert "cannot be reached" in refusal()
    assert vault.seen == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "vault",
        "https://",
        "https://[",
        "https://vault.test:port",
        "https://user@vault.test",
        "https://vault.test?a=b",
        "http://vault.test:8200",
        "http://10.0.0.1:8200",
        "ftp://127.0.0.1",
    ],
)
def test_an_address_that_no_token_may_go_to_is_refused(vault, monkeypatch, address):
    monkeypatch.setenv("VAULT_ADDR", address)
    assert refusal().startswith("VAULT_ADDR ")


@pytest.mark.usefixtures("vault")
def test_an_address_by_name_on_this_machine_may_go_without_tls(monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", os.environ["VAULT_ADDR"].replace("127.0.0.1", "localhost"))
    assert open_vault_kek(PLACE).unwrap(wrapped_by(), CONTEXT) == pack_key()


@pytest.mark.usefixtures("vault")
def test_the_token_may_lie_in_a_file(monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(path))
    assert open_vault_kek(PLACE).unwrap(wrapped_by(), CONTEXT) == pack_key()


def test_a_token_file_that_is_not_there_is_named(vault, monkeypatch, tmp_path):
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(tmp_path / "token"))
    assert refusal().startswith("VAULT_TOKEN_FILE: ")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "\n", "ä"])
def test_a_token_that_is_no_header_is_refused(vault, monkeypatch, token):
    monkeypatch.setenv("VAULT_TOKEN", token)
    assert "visible characters" in refusal()


def test_without_a_token_its_variable_is_named(vault, monkeypatch):
    monkeypatch.delenv("VAULT_TOKEN")
    assert "VAULT_TOKEN is not set" in refusal()


def test_the_namespace_goes_along(vault, monkeypatch):
    monkeypatch.setenv("VAULT_NAMESPACE", "speech")
    wrapped_by()
    assert vault.seen[0]["X-Vault-Namespace"] == "speech"


def test_without_the_library_its_install_is_named(vault, monkeypatch):
    monkeypatch.setitem(sys.modules, "hvac", None)
    assert "pip install 'earwitness[vault]'" in refusal()


def test_a_kek_names_mount_and_key():
    kek = open_vault_kek("teams/speech/transit/earwitness")
    assert kek.kek_id == "vault:teams/speech/transit/earwitness"
    assert repr(kek) == "VaultKek('vault:teams/speech/transit/earwitness')"


@pytest.mark.parametrize("place", ["", "key", "/key", "a/", "a/../b", "./b", "a/b?c", "a/b c"])
def test_a_place_that_could_lead_elsewhere_is_refused(place):
    with pytest.raises(KekError, match="vault:MOUNT/KEY"):
        open_vault_kek(place)
