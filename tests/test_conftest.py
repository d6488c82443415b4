"""CI skips nothing, but for what it cannot have."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMAND = [
    *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"),
    *("-c", str(ROOT / "pyproject.toml"), "--continue-on-collection-errors"),
]
SKIPPING = {
    "a mark": "@pytest.mark.skip\ndef test_it(): pass",
    "a call": "def test_it(): pytest.skip()",
    "a fixture": "@pytest.fixture\ndef it(): pytest.skip()\ndef test_it(it): pass",
    "a whole file": "pytest.skip(allow_module_level=True)",
}
ALLOWED = {
    "no GPU": "@pytest.mark.gpu\n@pytest.mark.skip\ndef test_it(): pass",
    "no recordings": "@pytest.mark.shared\n@pytest.mark.skip\ndef test_it(): pass",
    "a known fault": "@pytest.mark.xfail\ndef test_it(): assert False",
}


@pytest.fixture
def run(tmp_path):
    """Runs one file for each source; gives the exit code and the indices of those that failed."""

    def failed(sources, **environment):
        for index, source in enumerate(sources):
            (tmp_path / f"test_{index}.py").write_text(f"import pytest\n{source}\n")
        done = subprocess.run(  # noqa: S603 (our own interpreter)
            [*COMMAND, "--rootdir", tmp_path, tmp_path],
            cwd=ROOT,
            env={**os.environ, "EARWITNESS_CI": "", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = re.findall(r"^(?:FAILED|ERROR) \S*test_(\d)\.py", done.stdout, re.MULTILINE)
        return done.returncode, {int(index) for index in lines}

    return failed


def test_a_skipped_test_fails_in_ci(run):
    assert run(SKIPPING.values(), EARWITNESS_CI="1") == (1, {0, 1, 2, 3})


def test_what_ci_cannot_have_may_be_skipped(run):
    assert run(ALLOWED.values(), EARWITNESS_CI="1") == (0, set())


def test_a_developer_may_skip(run):
    assert run(SKIPPING.values()) == (0, set())


@pytest.mark.parametrize("need", ["asterisk", "clients"])
def test_what_was_said_to_be_not_there_may_be_skipped(run, need):
    source = f"@pytest.mark.{need}\n@pytest.mark.skip\ndef test_it(): pass"
    said = f"EARWITNESS_WITHOUT_{need.upper()}"
    assert run([source], EARWITNESS_CI="1", **{said: ""}) == (1, {0})
    assert run([source], EARWITNESS_CI="1", **{said: "1"}) == (0, set())
