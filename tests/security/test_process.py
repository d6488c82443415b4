"""A fresh interpreter in; what the kernel says about it afterwards out."""

import subprocess
import sys
from pathlib import Path

import pytest

from security import process

ROOT = Path(process.__file__).parents[1]
CHILD = """
import ctypes, resource
from security.process import harden_process
done = harden_process()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(done, resource.getrlimit(resource.RLIMIT_CORE), dumpable)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the switches are Linux's")
def test_a_hardened_process_leaves_no_core_and_takes_no_tracer():
    child = subprocess.run(  # noqa: S603 (our own interpreter, constant text)
        [sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "True (0, 0) 0"
