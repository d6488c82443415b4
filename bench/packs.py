"""Random weights in, how fast a sealed pack opens out: `python -m bench.packs`.

One safetensors file is kept four times: plain, as a pack of ours, and as two rivals keep it,
encrypted. The contenders take turns, and each opening is a process of its own that reads the file
once beforehand, so that caches are warm. So is memory: as much as the weights take is held until
the clock starts, because the host of a virtual machine takes free memory away and needs seconds to
find it again. An opening ends with every tensor in memory of the process's own. Who has not grown
by the size of the weights has copied nothing and is refused, and so is who differs from the others
in one tensor.

open_s      ours, the best of the runs, as all `_s` are; `_p50_s` is the median
plain_s     the fastest way to a copy of the plain file by the safetensors library
bare_s      the fastest way by hand: all cores, huge pages and no tensor library, which nobody uses
ratio_*     open_s over these two; the rivals' times over open_s
*_huge      a rival whose allocator is told to use huge pages, which ours uses unasked
extra_*     the peak of memory above the weights themselves: anonymous, sampled from outside
*_file_mib  the same for pages of mapped files, which are clean and can be dropped
rotate_*    a new key-encrypting key in the place of the old one: time, and bytes written

Figures go to build/bench/packs.json. Needs 15 GB of disk and 10 GB of memory for `--gb 3.4`.
"""

import argparse
import importlib
import importlib.util
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import (
    CONTENDERS,
    KEK,
    NEW_KEK,
    PACK,
    PIECE_BYTES,
    PLAIN,
    SAVERS,
    digest_of,
    trust_in,
)
from bench.scoring import machine_description, write_figures
from security.keks.local import open_file_kek
from security.memory import PrivateMemory
from security.rotation import rotate_slot
from security.secret import wipe_buffer

NEEDED = {
    "torch": "torch",
    "safetensors": "safetensors",
    "cryptotensors": "cryptotensors==0.2.3",
    "tensorizer": "tensorizer==2.12.1",
}
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "THP_MEM_ALLOC_ENABLE": "1"}
FULL_GB = 3.4
SAMPLE_S = 0.005
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One opening."""

    open_s: float
    n_bytes: int
    """Of all tensors."""
    extra_bytes: int
    """Anonymous memory at its peak, less what there was before, less the tensors."""
    file_bytes: int
    """The same for pages of mapped files, tensors or not."""
    digest: str


def play(name: str, folder: Path) -> None:
    """One opening, in a process of its own: a line when ready, one when open, one when checked."""
    contender = CONTENDERS[name]
    importlib.import_module("torch")
    importlib.import_module(contender.module)
    path = folder / contender.kept
    buffer = bytearray(PIECE_BYTES)
    for part in [path] if path.is_file() else path.iterdir():
        with part.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    print("ready", flush=True)
    sys.stdin.readline()
    started_s = time.perf_counter()
    tensors = contender.open(folder)
    open_s = time.perf_counter() - started_s
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    print(json.dumps({"open_s": open_s, "n_bytes": n_bytes}), flush=True)
    print(digest_of(tensors), flush=True)


def memory_of(process_id: int) -> tuple[int, int]:
    """Bytes that a process holds now: anonymous ones, and those of mapped files."""
    kib = {"RssAnon": 0, "RssShmem": 0, "RssFile": 0}
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in kib:
            kib[key] = int(value.split()[0])
    return (kib["RssAnon"] + kib["RssShmem"]) * 1024, kib["RssFile"] * 1024


def run_once(name: str, folder: Path) -> Run:
    """Let one contender open its copy, and look on."""
    held = PrivateMemory((folder / PLAIN).stat().st_size)
    wipe_buffer(held.view)  # which is what makes it more than a promise
    environment = {**os.environ, **(HUGE_PAGES if CONTENDERS[name].has_huge_pages else {})}
    command = [sys.executable, "-m", "bench.packs", "--play", name, "--folder", str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - this very file
        command, stdin=pipe, stdout=pipe, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"bench: {name} did not get ready")
        before = anonymous, file = memory_of(process.pid)
        held.wipe()
        process.stdin.write("\n")
        process.stdin.flush()
        is_open = False
        while not is_open:
            is_open = bool(select.select([process.stdout], [], [], SAMPLE_S)[0])
            now = memory_of(process.pid)  # once more when it is open
            anonymous, file = max(anonymous, now[0]), max(file, now[1])
        opened, digest = process.stdout.readline(), process.stdout.readline().strip()
    if process.returncode != 0:
        raise SystemExit(f"bench: {name} did not open its file")
    told = json.loads(opened)
    extra_bytes = anonymous - before[0] - told["n_bytes"]
    return Run(told["open_s"], told["n_bytes"], extra_bytes, file - before[1], digest)


def checked(runs: Mapping[str, list[Run]]) -> Mapping[str, list[Run]]:
    """The same, unless somebody cheated."""
    digests = {run.digest for some in runs.values() for run in some}
    if len(digests) != 1:
        raise SystemExit("bench: the contenders do not agree on the weights")
    for name, some in runs.items():
        if any(run.extra_bytes < -0.02 * run.n_bytes for run in some):
            raise SystemExit(f"bench: {name} has no copy of its own")
    return runs


def figures_of(runs: Mapping[str, list[Run]]) -> dict[str, float]:
    """What the runs come to."""
    best_s = {name: min(run.open_s for run in some) for name, some in runs.items()}
    figures = {"open_s": best_s["pack"]}
    for kind in ("plain", "bare"):
        figures[f"{kind}_s"] = min(s for name, s in best_s.items() if name.startswith(f"{kind}_"))
        figures[f"ratio_{kind}"] = figures["open_s"] / figures[f"{kind}_s"]
    for name in ("tensorizer", "cryptotensors", "cryptotensors_huge"):
        figures[f"ratio_{name}"] = best_s[name] / figures["open_s"]
    figures["extra_rss_mib"] = max(run.extra_bytes for run in runs["pack"]) / MIB
    for name, some in runs.items():
        figures[f"{name}_s"] = best_s[name]
        figures[f"{name}_p50_s"] = statistics.median(run.open_s for run in some)
        figures[f"{name}_extra_mib"] = max(run.extra_bytes for run in some) / MIB
        figures[f"{name}_file_mib"] = max(run.file_bytes for run in some) / MIB
    return {name: round(value, 3) for name, value in figures.items()}


def measure_rotation(folder: Path, n_runs: int) -> dict[str, float]:
    """Give the pack's lock to another key and back, as often as it was opened; the best of it."""
    times_s, written_bytes = [], []
    old, new = KEK, NEW_KEK
    for _ in range(n_runs):
        kek, trust = open_file_kek(str(folder / new)), trust_in(folder, old)
        before_bytes, started_s = _written_bytes(), time.perf_counter()
        rotate_slot(folder / PACK, trust, kek)
        times_s.append(time.perf_counter() - started_s)
        written_bytes.append(_written_bytes() - before_bytes)
        old, new = new, old
    return {"rotate_ms": round(min(times_s) * 1000, 2), "rotate_bytes": max(written_bytes)}


def _written_bytes() -> int:
    """By this process so far, by any call that writes."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def measure(folder: Path, gb: float, n_runs: int) -> dict[str, float]:
    """Make everything, let them take turns, print a line for each, return the figures."""
    for name in SAVERS:
        command = [sys.executable, "-m", "bench.packs", "--save", name, "--gb", str(gb)]
        subprocess.run([*command, "--folder", str(folder)], check=True)  # noqa: S603 - this file
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    for turn in range(n_runs):
        for name in CONTENDERS:
            runs[name].append(run_once(name, folder))
        print(f"turn {turn + 1} of {n_runs}", file=sys.stderr, flush=True)
    figures = figures_of(checked(runs)) | measure_rotation(folder, n_runs)
    print(f"{'':20}{'best s':>9}{'median s':>9}{'extra MiB':>11}{'file MiB':>10}")
    for name in CONTENDERS:
        times = f"{figures[f'{name}_s']:9.3f}{figures[f'{name}_p50_s']:9.3f}"
        extra = f"{figures[f'{name}_extra_mib']:11.1f}{figures[f'{name}_file_mib']:10.1f}"
        print(f"{name:20}{times}{extra}")
    return {"bytes": runs["pack"][0].n_bytes, "runs": n_runs, **figures}


def missing_packages() -> list[str]:
    """What has to be installed first."""
    return [p for module, p in NEEDED.items() if importlib.util.find_spec(module) is None]


def bench(folder: Path, gb: float, n_runs: int, *, is_kept: bool) -> None:
    """All of it, in a new folder."""
    if missing := missing_packages():
        raise SystemExit(f"bench: install first: pip install {' '.join(missing)}")
    if folder.exists():
        raise SystemExit(f"bench: {folder} exists: move it away")
    folder.mkdir(parents=True, mode=0o700)
    try:
        figures = measure(folder, gb, n_runs)
    finally:
        if not is_kept:
            shutil.rmtree(folder)
    write_figures("packs", figures)
    told = ("open_s", "plain_s", "bare_s", "extra_rss_mib", "rotate_ms", "rotate_bytes")
    for name in (*told, *(name for name in figures if name.startswith("ratio_"))):
        print(f"{name:24} {figures[name]}")
    print(machine_description())


def main() -> None:
    """Run the bench, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=FULL_GB, help="of weights, in 10⁹ bytes")
    parser.add_argument("--runs", type=int, default=5, help="openings by each contender")
    parser.add_argument("--folder", type=Path, default=Path("build/bench/packs"), help="new")
    parser.add_argument("--keep", action="store_true", help="leave the folder, keys and all")
    parser.add_argument("--save", choices=SAVERS, help=argparse.SUPPRESS)
    parser.add_argument("--play", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        play(arguments.play, arguments.folder)
    elif arguments.save:
        SAVERS[arguments.save](arguments.folder, arguments.gb)
    else:
        bench(arguments.folder, arguments.gb, arguments.runs, is_kept=arguments.keep)


if __name__ == "__main__":
    main()
