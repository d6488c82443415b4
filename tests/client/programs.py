"""The terminal program as a process of its own, for tests that send it signals."""

import os
import subprocess
import sys
from pathlib import Path

from tests.client.fake_server import TOKEN

ROOT = Path(__file__).parents[2]


def start_program(*arguments, **environment):
    return subprocess.Popen(  # noqa: S603 the interpreter that runs this test
        [sys.executable, "-m", "client", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "EARWITNESS_TOKEN": TOKEN, **environment},
    )
