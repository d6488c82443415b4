"""What the user said about a token in; a function that brings it, each time anew, out.

From the command line (where everybody on the machine can see it), a file, a command that prints it,
or the environment. Files and commands are asked before every session, because tokens are short and
a folder of recordings is long. A command is run without a shell and for half a minute at most; it
has no input, and nothing that it writes is shown. Who no longer waits for it can end it. No text in
here repeats a token.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from client.errors import UnusableError

TokenSource = Callable[[], str]
"""Blocks. Raises UnusableError."""

VARIABLE = "EARWITNESS_TOKEN"
MAX_TOKEN_FILE_BYTES = 16_384
COMMAND_TIMEOUT_S = 30.0

_JWT = re.compile(r"[\w-]{10,}\.[\w-]{10,}\.[\w-]*")


def find_token(
    given: str | None,
    file: Path | None,
    command: str | None,
    environment: Mapping[str, str] = os.environ,
) -> TokenSource:
    """The first that is there. Raises UnusableError if there is none, or no such command."""
    if given is not None:
        return lambda: given
    if file is not None:
        return lambda: read_token(file)
    if command is not None:
        return TokenCommand(split_command(command))
    token = environment.get(VARIABLE, "").strip()
    if not token:
        raise UnusableError(f"A token is needed: --token-file, --token-command, or {VARIABLE}.")
    return lambda: token


def looks_like_token(text: str) -> bool:
    """Whether somebody may have put a token where something else belongs."""
    return _JWT.fullmatch(text) is not None


def read_token(file: Path) -> str:
    """The content of a file. Raises UnusableError."""
    try:
        with file.open("rb") as content:
            return _decode(content.read(MAX_TOKEN_FILE_BYTES + 1))
    except OSError as error:
        raise UnusableError(f"{file}: {error.strerror or 'cannot be read'}") from None
    except ValueError:
        raise UnusableError(f"{file}: holds no token") from None


def split_command(command: str) -> list[str]:
    """Program and arguments, quoted as in a shell. Raises UnusableError."""
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = []
    if not arguments:
        raise UnusableError("The token command is not a command: look at its quotes.")
    return arguments


class TokenCommand:
    """A command that prints a token. Called by any number of threads, each of which waits."""

    def __init__(self, arguments: list[str], timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self._arguments = arguments
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_ended = False

    def __call__(self) -> str:
        """What it prints. Raises UnusableError, which says nothing of it."""
        process = self._start()
        try:
            printed, _ = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            raise UnusableError("The token command took too long.") from None
        finally:
            self._clear_up(process)
        if process.returncode != 0:
            raise UnusableError(f"The token command failed (exit code {process.returncode}).")
        try:
            return _decode(printed)
        except ValueError:
            raise UnusableError("The token command printed no token.") from None

    def end(self) -> None:
        """Nobody wants a token any more: end it wherever it runs. From any thread, for good."""
        with self._lock:
            self._is_ended = True
            for process in self._running:
                _kill(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._is_ended:
                raise UnusableError("No token is wanted any more.")
            try:
                process = subprocess.Popen(  # noqa: S603 the user's own words, and no shell
                    self._arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # so that what it started ends with it
                )
            except OSError as error:
                reason = (error.strerror or "cannot be run").lower()
                raise UnusableError(f"The token command could not be run: {reason}.") from None
            self._running.add(process)
            return process

    def _clear_up(self, process: "subprocess.Popen[bytes]") -> None:
        with self._lock:
            self._running.discard(process)
        if process.returncode is None:
            _kill(process)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _decode(content: bytes) -> str:
    token = content.decode("ascii").strip()
    if not token or len(content) > MAX_TOKEN_FILE_BYTES:
        raise ValueError
    return token
