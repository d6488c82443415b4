"""The command, in this process: on settings as they are, on a server that runs, on an issuer."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer import Typer
from typer.testing import CliRunner

from security.errors import TokenKeyError
from security.issuers import IssuerSettings
from security.token_keys import TokenKey, encode_jwks
from server.config import load_settings
from server.doctor.command import (
    Asked,
    doctor,
    fetched_keys,
    findings_of,
    is_bindable,
    is_ours,
    metrics_status,
)
from server.packs import make_pack_keys
from server.provision import make_keys, seal
from tests.server.doctor.test_network import NOW, pair  # noqa: F401 (a fixture)

WALL_NS = int(NOW.timestamp() * 1e9)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("EARWITNESS_MODEL", "one")
    monkeypatch.setenv("EARWITNESS_LISTEN__PORT", "0")
    made = load_settings()
    make_pack_keys(made)
    make_keys(made)
    seal(made, engine="e", version=1, files={"weights": b"w"})
    return made


def run(*arguments):
    app = Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_a_fresh_installation_has_nothing_bad(settings):
    result = run()
    assert result.exit_code == 0, result.output
    assert "ok    pack " in result.stdout
    assert not [line for line in result.stdout.splitlines() if line.startswith("bad")]


def test_a_program_gets_an_object_a_line(settings):
    lines = run("--json", "--full").stdout.splitlines()
    findings = [json.loads(line) for line in lines]
    assert {"pack", "trail", "versions", "time-outs"} <= {f["check"] for f in findings}


def test_what_is_bad_ends_with_1_and_says_what_to_do(settings):
    settings.pack_key_file.chmod(0o644)
    result = run()
    assert result.exit_code == 1
    assert "chmod 600" in result.stdout


def test_settings_that_cannot_be_read_end_with_2(settings, tmp_path):
    result = run("--config", str(tmp_path / "no.toml"))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_nothing_is_changed_by_looking(settings):
    def there():
        paths = settings.data_folder.rglob("*")
        return {path: path.stat().st_mtime_ns for path in paths}

    before = there()
    run("--full")
    assert there() == before


def test_keys_elsewhere_are_not_looked_for_here(settings, monkeypatch):
    monkeypatch.setenv("EARWITNESS_PACKS__KEYS", f"file:{settings.pack_key_file}")
    assert "pack key" not in run().stdout


def test_tls_proxies_and_issuers_are_looked_at(settings, pair, tmp_path):  # noqa: F811
    cert, key = pair()
    issuer = {"issuer": "them", "audience": "us", "algorithm": "EdDSA", "keys": "no.pem"}
    listen = {
        "port": 0,
        "origins": ("http://a.example",),
        "tls_cert": cert,
        "tls_key": key,
        "trusted_proxies": ("10.0.0.0/8",),
    }
    wide = load_settings(listen=listen, issuers=[issuer])
    findings = findings_of(wide, Asked(is_online=True), WALL_NS)
    found = {(finding.check, finding.level) for finding in findings}
    expected = {("tls", "ok"), ("tls expiry", "ok"), ("issuer", "bad"), ("origins", "bad")}
    assert expected | {("publisher key", "warn")} <= found


@contextmanager
def answering(status, body, mute=""):
    """An HTTP server that says the same to all, and nothing to one path; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == mute:
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "is_ours_"),
    [
        (200, b'{"status":"ok","server":"earwitness"}', True),
        (200, b'{"status":"ok"}', False),
        (200, b'{"status":"ok","server":"another"}', False),
        (200, b"7", False),
        (200, b"<html>", False),
        (404, b'{"server":"earwitness"}', False),
    ],
)
def test_a_server_of_ours_is_known_by_its_health(status, body, is_ours_):
    with answering(status, body) as port:
        for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 (what a server may bind)
            assert is_ours(address, port, has_tls=False) is is_ours_
        assert not is_ours("127.0.0.1", port, has_tls=True)
        assert not is_bindable("127.0.0.1", port)


def test_a_port_that_nobody_has_is_free():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_bindable("127.0.0.1", port)
    assert is_bindable("127.0.0.1", port)
    assert not is_ours("127.0.0.1", port, has_tls=False)


def test_keys_are_fetched_as_the_server_would():
    key = Ed25519PrivateKey.generate().public_key()
    document = encode_jwks([TokenKey("k-1", "EdDSA", key)])
    with answering(200, document) as port:
        issuer = IssuerSettings("them", "us", "EdDSA", f"http://127.0.0.1:{port}/jwks")
        assert [key.key_id for key in fetched_keys(issuer).keys] == ["k-1"]
    with pytest.raises(TokenKeyError):
        fetched_keys(issuer)


def test_a_port_in_use_is_asked_whose_it_is(settings, monkeypatch):
    with answering(200, b'{"server":"earwitness"}') as port:
        monkeypatch.setenv("EARWITNESS_LISTEN__PORT", str(port))
        told = run().stdout
    assert f"{port}: a server of ours answers." in told
    assert "they can be scraped from this machine." in told


def test_a_server_that_is_not_ours_is_asked_for_no_metrics(settings):
    with answering(200, b"{}") as port:
        assert metrics_status("127.0.0.1", port, has_tls=False) is None
    assert metrics_status("127.0.0.1", port, has_tls=False) is None


def test_a_server_that_ends_meanwhile_has_no_metrics():
    with answering(200, b'{"server":"earwitness"}', mute="/metrics") as port:
        assert is_ours("127.0.0.1", port, has_tls=False)
        assert metrics_status("127.0.0.1", port, has_tls=False) is None


def test_a_model_that_wants_torch_has_its_device_looked_at(settings, monkeypatch):
    monkeypatch.setenv("EARWITNESS_MODEL", "two")
    monkeypatch.setenv("EARWITNESS_TRANSFORMERS__DEVICE", "cpu")
    seal(load_settings(), engine="transformers", version=1, files={"weights": b"w"})
    assert "device" in run().stdout
