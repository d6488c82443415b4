"""Fixtures that many tests share, and the rule that CI skips nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.recordings import Recording as SharedRecording
from bench.recordings import audio_folder, open_recordings
from server import provision
from server.config import Settings, load_settings
from server.embedded import Recording, fetch_recordings
from tests.fakes import ManualClock

ASSETS_FOLDER = Path(__file__).parent.parent / "build" / "test-assets"
_MAY_BE_SKIPPED = {"gpu", "shared"}


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def embedded_model_pack() -> Settings:
    """Settings of a data folder with keys and the sealed embedded model; fetched and sealed once.

    Tests that write to the data folder copy it first.
    """
    settings = load_settings(data_folder=ASSETS_FOLDER / "data", listen={"port": 0})
    provision.make_keys(settings)
    provision.make_pack(settings, lambda text: None)
    return settings


@pytest.fixture(scope="session")
def english_recordings() -> list[Recording]:
    """Speech from the package index, with what is said in it."""
    folder = ASSETS_FOLDER / "recordings"
    folder.mkdir(parents=True, exist_ok=True)
    return [r for r in fetch_recordings(folder) if r.language == "en"]


@pytest.fixture(scope="session")
def shared_audio() -> list[SharedRecording]:
    """The developers' own recordings; only for tests marked `shared`."""
    if audio_folder() is None:
        pytest.skip("needs the developers' recordings: set EARWITNESS_AUDIO")
    return open_recordings()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a test that is skipped has failed, but for those that need what CI cannot have."""
    report = yield
    marks = {mark.name for mark in item.iter_markers()}
    if os.environ.get("EARWITNESS_CI") and report.skipped and not marks & _MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report
