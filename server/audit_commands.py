"""`run.py audit list | query | export | report`: what is wanted of the trail in, rows, files and
numbers out.

Whoever looks into the trail, or takes events out of it, is on record under the name of the account
before anything is shown; what cannot be recorded is not shown. A server that runs goes on. An
export is a new file that nobody else can read, or standard output.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO, TypeVar

import typer

from security.audit import AuditRecord
from security.audit_events import EVENT_NAMES, AuditEvent, TrailExported, TrailRead
from security.audit_export import FORMATS, ExportFormat, ndjson_line
from security.audit_query import LEAST_NUMBER, MOST_NUMBER, TrailFilter
from security.audit_reader import MAX_READ_ROWS, TrailReader
from security.errors import AuditError
from security.report import Report, make_report
from server.audit_shown import console, report_shown, row_lines, rows_table, tabbed_lines
from server.command_line import (
    ConfigFile,
    account_name,
    plain_errors,
    read_duration_s,
    read_settings,
    record,
)
from server.config import Settings
from server.start_error import EXIT_DATA, StartError

app = typer.Typer(no_args_is_help=True, help="Read the audit trail.")
_NS = 10**9
_Answer = TypeVar("_Answer")
_MOST_HOURS = 24 * 366 * 20
_EXIT_PIPE = 141
"""As of a program that SIGPIPE ends: whoever read has enough."""
_TIMES = "a time ago such as 24h or 7d, or a time such as 2026-01-31T08:00 (UTC)"

Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="Such as session.ended, or all of session.*; may be repeated."),
]
Since = Annotated[
    str | None, typer.Option(help="From then on: 24h, 7d, or 2026-01-31T08:00 (UTC).")
]
Until = Annotated[str | None, typer.Option(help="Before then: as --since.")]
Outcome = Annotated[str | None, typer.Option(help="success or failure.")]
Session = Annotated[str | None, typer.Option(help="Only this session.")]
Subject = Annotated[str | None, typer.Option(help="Only this subject.")]
Address = Annotated[str | None, typer.Option(help="Only from this address.")]
Token = Annotated[str | None, typer.Option("--token-hash", help="Only this token.")]
Reason = Annotated[str | None, typer.Option(help="Only for this reason.")]
By = Annotated[str | None, typer.Option(help="Only what this account or administrator did.")]
IsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command("list")
def list_(
    session: Session = None,
    event: Annotated[
        str | None, typer.Option(help="Only this event, such as session.ended.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_READ_ROWS)] = 50,
    config: ConfigFile = None,
) -> None:
    """Print the newest rows of the trail, oldest first."""
    wanted = TrailFilter(_known([event] if event else []), session_id=session)
    with plain_errors(), _while_somebody_reads():
        for line in row_lines(_read(read_settings(config), wanted, limit)):
            print(line)


@app.command()
def query(  # noqa: PLR0913, PLR0917 - one for each option
    event: Events = None,
    since: Since = None,
    until: Until = None,
    outcome: Outcome = None,
    session: Session = None,
    subject: Subject = None,
    address: Address = None,
    token_hash: Token = None,
    reason: Reason = None,
    by: By = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_READ_ROWS, help="The newest.")] = 50,
    before: Annotated[
        int | None, typer.Option(min=1, max=MOST_NUMBER, help="Only rows before this number.")
    ] = None,
    is_json: IsJson = False,
    config: ConfigFile = None,
) -> None:
    """Find rows of the trail: the newest that fit, oldest first."""
    wanted = _filter(
        event, since, until, (outcome, session, subject, address, token_hash, reason, by)
    )
    with plain_errors(), _while_somebody_reads():
        found = _read(read_settings(config), wanted, limit, before)
        if is_json:
            for each in found:
                print(ndjson_line(each), end="")
        elif (screen := console()).is_terminal:
            screen.print(rows_table(found))
        else:
            for line in tabbed_lines(found):
                print(line)


@app.command()
def export(  # noqa: PLR0913, PLR0917 - one for each option
    format_: Annotated[str, typer.Option("--format", help="ndjson, csv or ocsf.")] = "ndjson",
    output: Annotated[
        Path | None, typer.Option(help="A new file; without it, standard output.")
    ] = None,
    event: Events = None,
    since: Since = None,
    until: Until = None,
    outcome: Outcome = None,
    session: Session = None,
    subject: Subject = None,
    address: Address = None,
    token_hash: Token = None,
    reason: Reason = None,
    by: By = None,
    config: ConfigFile = None,
) -> None:
    """Take events out of the trail, for other programs."""
    if format_ not in FORMATS:
        raise typer.BadParameter(f"one of {', '.join(FORMATS)}")
    wanted = _filter(
        event, since, until, (outcome, session, subject, address, token_hash, reason, by)
    )
    with plain_errors():
        settings = _with_trail(read_settings(config))
        account = account_name()
        _record_reading(settings, TrailRead(account, "export"))  # how much is known when it is out
        if output is None:
            with _while_somebody_reads():
                n_events = asyncio.run(_write(settings, wanted, FORMATS[format_], sys.stdout))
            record(settings, TrailExported(account, format_, n_events))
            return
        is_whole = False
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
                n_events = asyncio.run(_write(settings, wanted, FORMATS[format_], file))
                file.flush()
                os.fsync(descriptor)
            record(settings, TrailExported(account, format_, n_events))
            is_whole = True
        finally:
            if not is_whole:
                output.unlink(missing_ok=True)
        print(f"{n_events} events: {output}", file=sys.stderr)


@app.command()
def report(
    hours: Annotated[int, typer.Option(min=1, max=_MOST_HOURS, help="How far back.")] = 24,
    is_json: IsJson = False,
    config: ConfigFile = None,
) -> None:
    """Sum up the last hours: totals, who, why refused, and what looked suspicious."""
    until_ns = time.time_ns()

    async def make(reader: TrailReader) -> Report:
        return await make_report(reader, until_ns - hours * 3600 * _NS, until_ns)

    with plain_errors(), _while_somebody_reads():
        settings = _with_trail(read_settings(config))
        made = asyncio.run(_asked(settings, make))
        _record_reading(settings, TrailRead(account_name(), "report"))
        if is_json:
            print(json.dumps(made.as_dict()))
        else:
            console().print(report_shown(made))


def _read(
    settings: Settings, wanted: TrailFilter, limit: int, before_seq: int | None = None
) -> list[AuditRecord]:
    async def read(reader: TrailReader) -> list[AuditRecord]:
        return await reader.records(wanted, limit=limit, before_seq=before_seq)

    found = asyncio.run(_asked(_with_trail(settings), read))
    _record_reading(settings, TrailRead(account_name(), "events"))
    return found


def _record_reading(settings: Settings, event: AuditEvent) -> None:
    """Raises AuditError."""
    try:
        record(settings, event)
    except AuditError as error:
        text = "Nothing is shown: that the trail was read could not be put on record."
        raise AuditError(f"{text} {error}") from None


@contextmanager
def _while_somebody_reads() -> Iterator[None]:
    """A pipe that is closed at its other end is no fault."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        with suppress(OSError):  # what is left to write at the end of the process
            os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
        raise typer.Exit(_EXIT_PIPE) from None


async def _asked(settings: Settings, ask: Callable[[TrailReader], Awaitable[_Answer]]) -> _Answer:
    async with TrailReader(settings.trail) as reader:
        return await ask(reader)


async def _write(settings: Settings, wanted: TrailFilter, form: ExportFormat, file: TextIO) -> int:
    n_events = 0
    file.write(form.head)
    async with TrailReader(settings.trail) as reader:
        async for batch in reader.batches(wanted):
            file.writelines(map(form.line, batch))
            n_events += len(batch)
    return n_events


def _with_trail(settings: Settings) -> Settings:
    if not settings.trail.segment_files():
        raise StartError(f"{settings.trail.folder}: there is no audit trail yet.", EXIT_DATA)
    return settings


def _filter(
    events: list[str] | None,
    since: str | None,
    until: str | None,
    columns: tuple[str | None, ...],
) -> TrailFilter:
    outcome, session, subject, address, token_hash, reason, by = columns
    if outcome not in {None, "success", "failure"}:
        raise typer.BadParameter("--outcome: success or failure")
    return TrailFilter(
        event=_known(events or []),
        outcome=outcome,
        session_id=session,
        subject=subject,
        address=address,
        token_hash=token_hash,
        reason=reason,
        by=by,
        since_utc_ns=_utc_ns("--since", since),
        until_utc_ns=_utc_ns("--until", until),
    )


def _known(names: list[str]) -> tuple[str, ...]:
    """What is misspelt would find nothing, and look like good news."""
    known = set(EVENT_NAMES.values())
    families = {f"{name.partition('.')[0]}.*" for name in known}
    for name in names:
        if name not in known | families:
            raise typer.BadParameter("no event, nor a family such as session.*, has this name")
    return tuple(names)


def _utc_ns(option: str, text: str | None) -> int | None:
    """A time ago, such as 24h, or a time by ISO 8601; in UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        aware = at if at.tzinfo else at.replace(tzinfo=UTC)
        at_utc_ns = int(aware.timestamp()) * _NS + aware.microsecond * 1000
    except ValueError:
        at_utc_ns = time.time_ns() - _duration_s(option, text) * _NS
    if not LEAST_NUMBER <= at_utc_ns <= MOST_NUMBER:
        raise typer.BadParameter(f"{option}: too far away; {_TIMES}")
    return at_utc_ns


def _duration_s(option: str, text: str) -> int:
    try:
        return read_duration_s(text)
    except typer.BadParameter:
        raise typer.BadParameter(f"{option}: {_TIMES}") from None
