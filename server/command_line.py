"""What the commands share: options and settings in; one line and an exit code for every fault that
a person can mend out.

Commands run beside a server, too: what they put on record goes to the same trail, in turns.
"""

import asyncio
import contextlib
import os
import pwd
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from security.audit_events import AuditEvent, ModelRefused
from security.audit_store import AuditStore
from security.errors import (
    AuditError,
    KekError,
    KeyFileError,
    PackError,
    RevocationError,
    SealError,
    TokenError,
)
from security.weights import OnProgress
from server.config import Settings, SettingsError, load_settings
from server.embedded import EmbeddedError
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_MODEL, EXIT_SETTINGS, StartError

ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST_DIGITS = 9


def read_duration_s(text: str) -> int:
    """Seconds of a duration such as 90s, 15m, 24h or 7d."""
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not digits.isdecimal() or len(digits) > _MOST_DIGITS:
        raise typer.BadParameter("a number and a unit, such as 90s, 15m, 24h or 7d")
    return int(digits) * _UNITS_S[unit]


Model = Annotated[str | None, typer.Option(help="Name of a sealed pack, such as tiny.en or base.")]

_EXIT_CODES: Mapping[type[Exception], int] = {
    SettingsError: EXIT_SETTINGS,
    TokenError: EXIT_SETTINGS,
    EmbeddedError: EXIT_MODEL,
    PackError: EXIT_MODEL,
    SealError: EXIT_MODEL,
    KeyFileError: EXIT_KEYS,
    KekError: EXIT_KEYS,
    AuditError: EXIT_DATA,
    RevocationError: EXIT_DATA,
    OSError: EXIT_DATA,
}
"""What each fault that a person can mend exits with; `StartError` carries its own."""


def read_settings(
    config: Path | None,
    model: str | None = None,
    host: str | None = None,
    port: int | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> Settings:
    """The settings, with what the command line says over all else. Raises SettingsError."""
    given = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    listen = {name: value for name, value in given.items() if value is not None}
    overrides: dict[str, object] = {"listen": listen} if listen else {}
    if model is not None:
        overrides["model"] = model
    return load_settings(config, **overrides)


def account_name() -> str:
    """Of whom this program runs as, whatever the environment says."""
    user_id = os.getuid()
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # in a container
        return f"uid {user_id}"


def record(settings: Settings, event: AuditEvent) -> None:
    """Put what a command does, or is refused, on record. Raises AuditError."""

    async def write() -> None:
        async with await AuditStore.open(settings.trail, time.time_ns, settings.audit) as store:
            await store.record(event)

    asyncio.run(write())


def check_trail(settings: Settings) -> None:
    """What cannot be recorded is not done. Raises AuditError."""

    async def open_and_close() -> None:
        async with await AuditStore.open(settings.trail, time.time_ns, settings.audit):
            pass

    asyncio.run(open_and_close())


@contextlib.contextmanager
def refusals_recorded(settings: Settings) -> Iterator[None]:
    """A pack that a command is refused is on record as it is at a server's start."""
    try:
        yield
    except PackError as error:
        with contextlib.suppress(AuditError):  # the refusal is what counts
            record(settings, ModelRefused(settings.pack_folder.name, error.reason))
        raise


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[OnProgress]:
    """Shows on a terminal how far a model is and how many bytes a second it makes."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def plain_errors(others: Mapping[type[Exception], int] | None = None) -> Iterator[None]:
    """What a person can mend, said in one line on standard error."""
    try:
        yield
    except Exception as error:
        fault = _first(error)
        if isinstance(fault, StartError):
            code = fault.exit_code
        else:
            codes = {**_EXIT_CODES, **(others or {})}
            known = [code for kind, code in codes.items() if isinstance(fault, kind)]
            if not known:
                raise
            code = known[0]
        text = str(fault)
        if isinstance(fault, OSError) and fault.filename is not None:
            text = f"{fault.filename}: {fault.strerror}"
        print(f"earwitness: {text}", file=sys.stderr)
        raise typer.Exit(code) from None


def _first(error: Exception) -> Exception:
    """The fault itself, where a task group has wrapped it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
