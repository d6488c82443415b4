"""Models fetched from a hub on loopback, by the hub's own library."""

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading

import pytest

hub_library = pytest.importorskip("huggingface_hub")

from security.weights import open_pack  # noqa: E402
from server import hub  # noqa: E402
from server.config import load_settings  # noqa: E402
from server.hub import HubError, open_hub_model  # noqa: E402
from server.packs import pack_trust  # noqa: E402

COMMIT = "c" * 40
FILES = {
    "config.json": b'{"architectures": ["Any"]}',
    "model.safetensors": bytes(range(256)) * 5000,
    "README.md": b"# A model",
    "pytorch_model.bin": b"the same again",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.partition("?")[0].removeprefix(f"/me/small/resolve/{COMMIT}/")
        self.server.asked.append((name, self.headers.get("Range")))
        if self.path.startswith("/api/models/me/small/revision/main"):
            self._answer(200, json.dumps(self._about()).encode())
        elif name in FILES:
            self._answer_part(self.server.sent.get(name, FILES[name]))
        else:
            self._answer(404, b"{}")

    def _about(self):
        siblings = []
        for name, content in FILES.items():
            about = {"rfilename": name, "size": len(content)}
            about["blobId"] = hashlib.sha1(
                b"blob %d\0" % len(content) + content, usedforsecurity=False
            ).hexdigest()
            if name.endswith((".safetensors", ".bin")):
                sha256 = hashlib.sha256(content).hexdigest()
                about["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 100}
            siblings.append(about)
        return {"id": "me/small", "sha": COMMIT, "siblings": siblings}

    def _answer_part(self, content):
        span = self.headers.get("Range")
        if span is None:
            return self._answer(200, content)
        first, last = map(int, span.removeprefix("bytes=").split("-"))
        return self._answer(206, content[first : last + 1])

    def _answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """`sent` takes the place of what it has published."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.asked, serving.sent, serving.daemon_threads = [], {}, True
    monkeypatch.setattr(hub, "CHUNK_BYTES", 500_000)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def url_of(server):
    return f"http://127.0.0.1:{server.server_port}"


def fetched(server):
    model = open_hub_model("me/small", "main", url_of(server))
    return {name: read(file) for name, file in model.files.items()}


def read(file):
    buffer, content = bytearray(300_000), b""
    while n_read := file.readinto(buffer):
        content += buffer[:n_read]
    return content


def test_what_a_model_needs_is_streamed_as_it_was_published(server):
    assert fetched(server) == {name: FILES[name] for name in ("config.json", "model.safetensors")}
    spans = [span for name, span in server.asked if name == "model.safetensors"]
    assert spans == ["bytes=0-499999", "bytes=500000-999999", "bytes=1000000-1279999"]


def test_a_model_knows_its_commit_and_its_lengths(server):
    model = open_hub_model("me/small", "main", url_of(server))
    assert model.commit == COMMIT
    lengths = {name: file.seek(0, io.SEEK_END) for name, file in model.files.items()}
    assert lengths == {name: len(FILES[name]) for name in model.files}
    assert all(file.readable() and file.seek(0) == 0 for file in model.files.values())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_was_changed_on_the_way_is_refused(name, server):
    server.sent[name] = FILES[name][:-1] + b"?"
    with pytest.raises(HubError, match="not what"):
        fetched(server)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_was_cut_short_is_refused(name, server):
    server.sent[name] = FILES[name][:-1]
    with pytest.raises(HubError, match="length"):
        fetched(server)


def test_a_repository_that_is_not_there_is_said(server):
    with pytest.raises(HubError, match="HF_TOKEN"):
        open_hub_model("me/other", "main", url_of(server))


def test_a_name_that_is_none_is_said():
    with pytest.raises(HubError, match="OWNER/NAME"):
        open_hub_model("what is this?", "main")


def test_a_hub_that_is_not_there_is_said():
    with pytest.raises(HubError, match="cannot be reached"):
        open_hub_model("me/small", "main", "http://127.0.0.1:9")


@pytest.mark.usefixtures("server")
def test_shards_are_chosen_by_their_index(server, monkeypatch):
    index = b'{"weight_map": {"a": "a.safetensors"}}'
    files = {"config.json": b"{}", "a.safetensors": b"a", "b.safetensors": b"b"}
    monkeypatch.setattr(f"{__name__}.FILES", {**files, "model.safetensors.index.json": index})
    assert set(fetched(server)) == {"config.json", "a.safetensors", "model.safetensors.index.json"}


def test_a_model_goes_from_the_hub_into_a_pack_and_nowhere_else(server, tmp_path):
    environment = {
        **os.environ,
        "HF_ENDPOINT": url_of(server),
        "HF_HOME": str(tmp_path / "home"),
        "EARWITNESS_DATA_FOLDER": str(tmp_path / "data"),
    }
    done = subprocess.run(
        [sys.executable, "run.py", "seal", "hub", "me/small"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert COMMIT in done.stdout
    settings = load_settings(data_folder=tmp_path / "data", model="small")
    with open_pack(settings.pack_folder, pack_trust(settings)) as pack:
        assert bytes(pack.files["model.safetensors"]) == FILES["model.safetensors"]
        assert pack.card.engine == "transformers"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"\x01\x02\x03\x04\x05" in path.read_bytes() for path in written)
