"""Memory that is used again and again is fetched once."""

import json
import subprocess
import sys

import pytest

FAULTS = """
import json, resource, sys
import numpy as np
from server.engines.allocator import keep_freed_memory
took_hold = sys.argv[1] == "kept" and keep_freed_memory()
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(16 << 20, np.float32)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps([took_hold, faults]))
"""


def faults_of_64_mib(how: str) -> tuple[bool, list[int]]:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    took_hold, faults = json.loads(done.stdout)
    return took_hold, faults


def test_freed_memory_is_not_fetched_again():
    took_hold, faults = faults_of_64_mib("kept")
    if not took_hold:
        pytest.skip("another allocator than glibc's")
    assert faults[0] > 10
    assert max(faults[1:]) < faults[0] / 10


def test_without_it_the_system_is_asked_each_time():
    _, faults = faults_of_64_mib("plain")
    assert min(faults) > 10
