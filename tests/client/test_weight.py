"""What a program pays that imports the client alone."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"miniaudio", "numpy", "rich", "sounddevice", "torch"}


def modules_after(statement):
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run(  # noqa: S603 the interpreter that runs this test
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize("module", ["client.stream", "client.captions", "client.program"])
def test_the_client_loads_nothing_heavy(module):
    assert modules_after(f"import {module}") & HEAVY == set()


def test_the_client_needs_only_what_it_declares():
    names = modules_after("import client.stream")
    foreign = names - modules_after("pass") - set(sys.stdlib_module_names) - {"client", "server"}
    assert foreign <= {"msgspec", "websockets", "typing_extensions"}
