"""A real Redis of one's own: Debian's `redis-server` on a free port of this machine, in memory."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

BINARY = shutil.which("redis-server")
START_LIMIT_S = 20.0
needs_redis = pytest.mark.skipif(BINARY is None, reason="needs the package redis-server")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class RedisServer:
    """Started by entry, ended by exit, and whatever may happen to it between."""

    def __init__(self, folder: Path, options: Sequence[str] = (), *, has_tls: bool = False) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis{'s' if has_tls else ''}://127.0.0.1:{self.port}/0"
        ports = ["--port", "0", "--tls-port"] if has_tls else ["--port"]
        self._options = [*ports, str(self.port), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it listens."""
        assert BINARY is not None
        command = [BINARY, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._folder), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        give_up_s = time.monotonic() + START_LIMIT_S
        while not self._listens():
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < give_up_s, "redis-server does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """Everything in it is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It accepts and does not answer."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
