"""This folder in, what the client alone installs and how long its import takes out:
`python -m bench.client_weight`.

Installed into a virtual environment of its own, from wheels alone: nothing needs a compiler.
Figures go to build/bench/client_weight.json.
"""

import json
import statistics
import subprocess
import sys
import venv
from pathlib import Path

from bench.scoring import write_figures

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "client-alone"
N_IMPORTS = 30
TIMED = (
    "import time; at = time.perf_counter(); import client.stream; "
    "print((time.perf_counter() - at) * 1000)"
)


def run(*command: str | Path) -> str:
    """What it prints."""
    done = subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True)  # noqa: S603 (ours)
    return done.stdout


def main() -> None:
    """Run the bench."""
    venv.create(FOLDER, clear=True, with_pip=True)
    python = FOLDER / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", ROOT)
    packages = sorted(
        each["name"] for each in json.loads(run(python, "-m", "pip", "list", "--format", "json"))
    )
    times_ms = sorted(float(run(python, "-c", TIMED)) for _ in range(N_IMPORTS))
    figures = {
        "packages": [name for name in packages if name not in {"pip", "setuptools"}],
        "import_ms_median": round(statistics.median(times_ms)),
        "import_ms_max": round(times_ms[-1]),
        "python": sys.version.split()[0],
    }
    write_figures("client_weight", figures)
    for name, value in figures.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
