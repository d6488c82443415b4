"""Fixtures that many tests share, and two rules: CI skips nothing, and no run leaves a secret."""

import gc
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.recordings import Recording as SharedRecording
from bench.recordings import audio_folder, open_recordings
from server import provision
from server.config import Settings, load_settings
from server.embedded import RECORDINGS, Recording, fetch_recordings
from tests.canaries import Canaries, told
from tests.fakes import ManualClock

ASSETS_FOLDER = Path(__file__).parent.parent / "build" / "test-assets"
_WITHOUT_ASTERISK = {"asterisk"} if os.environ.get("EARWITNESS_WITHOUT_ASTERISK") else set()
"""Where `.ci/asterisk` has said that this machine cannot have one."""
_WITHOUT_CLIENTS = {"clients"} if os.environ.get("EARWITNESS_WITHOUT_CLIENTS") else set()
"""The same of `.ci/clients`."""
_MAY_BE_SKIPPED = {"gpu", "shared"} | _WITHOUT_ASTERISK | _WITHOUT_CLIENTS
CANARIES = pytest.StashKey[Canaries]()


def pytest_configure(config: pytest.Config) -> None:
    """What must lie nowhere at the end."""
    config.stash[CANARIES] = Canaries()


@pytest.fixture(scope="session", autouse=True)
def canaries(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Canaries:
    """Looks at the end of the run into every folder of a test; a test may mark a secret."""
    made = pytestconfig.stash[CANARIES]
    made.watch(tmp_path_factory.getbasetemp())
    return made


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def embedded_model_pack(canaries: Canaries) -> Settings:
    """Settings of a data folder with keys and the sealed embedded model; fetched and sealed once.

    Tests that write to the data folder copy it first.
    """
    settings = load_settings(data_folder=ASSETS_FOLDER / "data", listen={"port": 0})
    provision.make_keys(settings)
    provision.make_pack(settings, lambda text: None)
    canaries.watch(settings.data_folder)
    return settings


@pytest.fixture(scope="session")
def english_recordings() -> list[Recording]:
    """Speech from the package index, with what is said in it; fetched once."""
    folder = ASSETS_FOLDER / "recordings"
    folder.mkdir(parents=True, exist_ok=True)
    files = {carried.sha256: folder / carried.name for carried, _, _ in RECORDINGS}
    if not all(is_kept(path, sha256) for sha256, path in files.items()):
        for recording in fetch_recordings(folder):
            (folder / f"{recording.name}.wav").write_bytes(recording.wav_bytes)
    return [
        Recording(Path(carried.name).stem, files[carried.sha256].read_bytes(), text, language)
        for carried, text, language in RECORDINGS
        if language == "en"
    ]


def is_kept(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


@pytest.fixture(scope="session")
def shared_audio() -> list[SharedRecording]:
    """The developers' own recordings; only for tests marked `shared`."""
    if audio_folder() is None:
        pytest.skip("needs the developers' recordings: set EARWITNESS_AUDIO")
    return open_recordings()


def pytest_collection_finish() -> None:
    """What was collected stays to the end and is no garbage. Looking through it takes two thirds of
    a second, in which the servers of this process would answer nobody.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a test that is skipped has failed, but for those that need what CI cannot have."""
    report = yield
    marks = {mark.name for mark in item.iter_markers()}
    if is_skipped_in_ci(report) and not marks & _MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    for section, text in report.sections if report.when == "teardown" else ():
        item.config.stash[CANARIES].hear(f"{item.nodeid}, {section}", text)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """So has a whole file that skips itself; its tests can carry a mark instead."""
    report = yield
    if is_skipped_in_ci(report):
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skipped itself in CI: {report.longrepr}"
    return report


def is_skipped_in_ci(report: pytest.TestReport | pytest.CollectReport) -> bool:
    is_expected_failure = hasattr(report, "wasxfail")
    return bool(os.environ.get("EARWITNESS_CI")) and report.skipped and not is_expected_failure


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """A run that leaves a token, a key or a spoken word behind has failed, whatever its tests say.

    Servers are closed by then, and their folders are still there.
    """
    leaks = session.config.stash[CANARIES].leaks()
    if leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.stash[CANARIES].report = told(leaks)
    return (yield)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says where."""
    terminalreporter.write(config.stash[CANARIES].report, red=True)
