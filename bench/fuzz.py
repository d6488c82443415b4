"""Targets in, what a fuzzer made of them out: `python -m bench.fuzz --seconds 600 [NAME …]`.

A target is a file of tests/fuzz_targets with `SEEDS` and a function `fuzz_NAME(data)` that raises
on a real fault alone. Each runs in a process of its own under atheris, which sees the branches of
server, security and client, as many at a time as there are cores. What it found interesting is kept
in build/fuzz/NAME/corpus for the next run, and an input that fails in build/fuzz/NAME/findings.
A finding is what a target raises, what makes the process grow over 2 GB or hang, and an input that
takes over 100 ms of the processor (or what the target says), twice: waiting for a core that others
use is no fault.

Exit code 1 if there was a finding, or a target that could not run.
"""

import argparse
import hashlib
import importlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGETS_FOLDER = ROOT / "tests" / "fuzz_targets"
FUZZ_FOLDER = ROOT / "build" / "fuzz"
DEFAULT_MAX_BYTES, DEFAULT_SLOWEST_MS = 4096, 100.0
_INSTRUMENTED = ["server", "security", "client"]
_SLOWEST_LINE = "earwitness: slowest input so far"
_CHILD_LIMIT_S = 120
"""To start, to run the corpus and to end, besides the time it was given."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser, as a fuzzer drives it."""

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    max_bytes: int
    slowest_ms: float
    """What an input may take."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target."""

    name: str
    executions: int
    corpus_files: int
    slowest_ms: float
    exit_code: int
    tail: str
    """The last lines it wrote, for a finding."""

    @property
    def is_finding(self) -> bool:
        """Whether somebody has to look at it."""
        return self.exit_code != 0 or not self.executions


class SlowInputError(Exception):
    """An input that costs a stranger nothing and us too much."""


def target_names() -> list[str]:
    """Every target there is."""
    return sorted(path.stem for path in TARGETS_FOLDER.glob("[!_]*.py"))


def load_target(name: str) -> Target:
    """Imports it, which is what a fuzzer instruments."""
    module = importlib.import_module(f"tests.fuzz_targets.{name}")
    return Target(
        name,
        getattr(module, f"fuzz_{name}"),
        module.SEEDS,
        getattr(module, "MAX_BYTES", DEFAULT_MAX_BYTES),
        getattr(module, "SLOWEST_MS", DEFAULT_SLOWEST_MS),
    )


class Timed:
    """Runs a target and tells each time an input took longer than all before it."""

    def __init__(
        self,
        target: Target,
        tell: Callable[[float], None],
        clock_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._target = target
        self._tell = tell
        self._clock_s = clock_s
        self._slowest_ms = 0.0

    def __call__(self, data: bytes) -> None:
        taken_ms = self._once_ms(data)
        if taken_ms > self._target.slowest_ms:
            # the first time may have paid for what is done once
            taken_ms = min(taken_ms, self._once_ms(data))
        if taken_ms > self._slowest_ms:
            self._slowest_ms = taken_ms
            self._tell(taken_ms)
        if taken_ms > self._target.slowest_ms:
            raise SlowInputError(f"{taken_ms:.0f} ms for {len(data)} bytes")

    def _once_ms(self, data: bytes) -> float:
        began_s = self._clock_s()
        self._target.run(data)
        return 1000 * (self._clock_s() - began_s)


def outcome_of(name: str, exit_code: int, output: str, corpus_files: int) -> Outcome:
    """What the fuzzer's own words say."""
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    if counted is None:  # it ended at a finding: the last it counted
        numbers = re.findall(r"^#(\d+)\s", output, re.MULTILINE)
        executions = int(numbers[-1]) if numbers else 0
    else:
        executions = int(counted[1])
    slowest = re.findall(rf"{_SLOWEST_LINE} ([\d.]+) ms", output)
    tail = "\n".join(output.splitlines()[-30:])
    return Outcome(
        name, executions, corpus_files, float(slowest[-1]) if slowest else 0.0, exit_code, tail
    )


def fuzz(name: str, duration_s: int) -> Outcome:
    """Runs one target in a process of its own."""
    corpus, findings = (FUZZ_FOLDER / name / part for part in ("corpus", "findings"))
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench.fuzz", "--seconds", str(duration_s), "--child", name]
    try:
        done = subprocess.run(  # noqa: S603 (our own program)
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=duration_s + _CHILD_LIMIT_S,
            check=False,
        )
        exit_code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        exit_code, output = 1, f"{(late.stdout or b'').decode(errors='replace')}\nit did not end"
    return outcome_of(name, exit_code, output, len(list(corpus.iterdir())))


def run_child(name: str, duration_s: int) -> None:
    """Fuzz here until the time is over or something is found; ends the process."""
    import atheris  # only where it fuzzes: the tests of this file do without

    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = load_target(name)
    folder = FUZZ_FOLDER / name
    for seed in target.seeds:
        (folder / "corpus" / hashlib.sha256(seed).hexdigest()).write_bytes(seed)

    def tell(taken_ms: float) -> None:
        print(f"{_SLOWEST_LINE} {taken_ms:.2f} ms", flush=True)

    options = [
        f"-max_total_time={duration_s}",
        f"-max_len={target.max_bytes}",
        f"-artifact_prefix={folder / 'findings'}/",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], Timed(target, tell))
    atheris.Fuzz()


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all if none is named")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        run_child(asked.child, asked.seconds)
        return
    names = asked.names or target_names()
    if unknown := set(names) - set(target_names()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    print(f"{'target':<22} {'executions':>12} {'corpus':>8} {'slowest_ms':>11}  findings")
    with ThreadPoolExecutor(asked.jobs) as pool:
        outcomes = []
        for outcome in pool.map(lambda name: fuzz(name, asked.seconds), names):
            print(_row(outcome), flush=True)
            outcomes.append(outcome)
    sys.exit(1 if any(outcome.is_finding for outcome in outcomes) else 0)


def _row(outcome: Outcome) -> str:
    row = (
        f"{outcome.name:<22} {outcome.executions:>12,} {outcome.corpus_files:>8,} "
        f"{outcome.slowest_ms:>11.1f}  {int(outcome.is_finding)}"
    )
    if not outcome.is_finding:
        return row
    return f"{row}\n{outcome.tail}\nits input is kept in {FUZZ_FOLDER / outcome.name / 'findings'}"


if __name__ == "__main__":
    main()
