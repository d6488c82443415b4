"""Memory that is used again is fetched once; matrices stay on their thread; vectors are wide."""

import json
import os
import subprocess
import sys

import pytest

from server.engines.processor import usable_cores, use_widest_vectors

FAULTS = """
import json, resource, sys
import numpy as np
from server.engines.processor import keep_freed_memory
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


THREADS = """
import numpy as np
from threadpoolctl import threadpool_info
from server.engines.processor import use_one_thread_for_matrices
use_one_thread_for_matrices()
np.ones((500, 500)) @ np.ones((500, 500))
print([pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"])
"""


def test_matrices_stay_on_their_thread():
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) == {1}


AVX512 = "avx512f avx512bw avx512cd avx512dq avx512vl"


def isa_for(tmp_path, description: str | None) -> str | None:
    file = tmp_path / "cpuinfo"
    if description is not None:
        file.write_text(description)
    use_widest_vectors(file)
    return os.environ.get("CT2_FORCE_CPU_ISA")


@pytest.mark.parametrize(
    ("description", "isa"),
    [
        (f"flags\t\t: fpu {AVX512} sse\n", "AVX512"),
        (f"processor\t: 0\nflags : {AVX512}\n\nprocessor\t: 1\nflags : fpu avx2\n", None),
        ("flags : fpu avx2 avx512f\n", None),
        ("Features : fp asimd\n", None),
        ("", None),
        (None, None),
    ],
)
def test_avx512_is_asked_for_where_every_core_has_all_of_it(
    tmp_path, monkeypatch, description, isa
):
    monkeypatch.setenv("CT2_FORCE_CPU_ISA", "")
    monkeypatch.delenv("CT2_FORCE_CPU_ISA")
    assert isa_for(tmp_path, description) == isa


def test_what_the_operator_has_set_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("CT2_FORCE_CPU_ISA", "AVX2")
    assert isa_for(tmp_path, f"flags : {AVX512}\n") == "AVX2"


def test_there_is_a_core_to_use():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_a_thread_that_is_done_waits_for_its_turn_no_longer_than_a_fraction_of_a_millisecond():
    script = (
        "import sys; from server.engines import processor;"
        "processor.take_shorter_turns(); print(sys.getswitchinterval() < 0.001)"
    )
    told = subprocess.check_output([sys.executable, "-c", script], text=True)  # noqa: S603 (ours)
    assert told == "True\n"
