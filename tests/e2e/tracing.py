"""A command in, the system calls that it and its children made out."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_A_TEST = ("CI", "GITHUB_", "TF_BUILD", "ORT_", "PYTEST")
"""Begin the names of what tells a library that it is tested: some behave themselves only then."""
HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")


def traced(
    data: Path, calls: str, *command: str
) -> tuple[subprocess.CompletedProcess[bytes], list[str]]:
    """What the command and its children did of `calls`, a line each."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    log = data.parent / "strace.log"
    options = ["-f", "-qq", "-xx", "-e", f"trace={calls}", "-s", "3000000", "-o", log]
    done = subprocess.run(  # noqa: S603 - our own programs
        ["strace", *options, *command],  # noqa: S607 - wherever the system has it
        cwd=data.parent,
        env=environment(data),
        capture_output=True,
        timeout=300,
        check=False,
    )
    lines = [HEX.sub(_unescaped, line) for line in log.read_text().splitlines()]
    log.unlink()
    return done, lines


def environment(data: Path) -> dict[str, str]:
    """Every place that a library might write to lies in the test's own folder."""
    places = {}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "HF_HOME"):
        places[name] = str(data.parent / name)
        Path(places[name]).mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in os.environ if not name.startswith(OF_A_TEST)}
    given = {"EARWITNESS_DATA_FOLDER": str(data), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, "PYTHONPATH": str(ROOT), **places, **given}


def _unescaped(match: re.Match[str]) -> str:
    """Bytes as strace writes them, in one character each."""
    return bytes.fromhex(match.group().replace("\\x", "")).decode("latin-1")
