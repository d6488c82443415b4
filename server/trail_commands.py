"""`run.py audit verify | retain | copy | checkpoint | set-aside`: the trail in; what is proven of
it, what may go, and copies that prove themselves out.

Verifying is left to `security.verify_trail`, which knows nothing of the server and goes along with
each copy. Commands run beside a server, each in its turn.
"""

import asyncio
import contextlib
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from security import verify_trail
from security.audit_events import AuditEvent, TrailCopied, TrailDropped, TrailVerified
from security.audit_lock import UseLock, WriteLock
from security.audit_schema import CLOSED_MODE
from security.audit_store import AuditStore
from security.checkpoint import Checkpoint, open_checkpoint, split_notes, verifier_key
from security.durable import create_file, sync_folder
from security.errors import AuditError
from security.keys import open_signing_key, open_verifying_key, public_half
from security.retention import (
    Expired,
    expired_segments,
    kept_days,
    remove_segment,
    write_tombstone,
)
from security.trail_beginning import SET_ASIDE
from security.trail_keys import PUT_BACK
from security.trail_notes import append_copy
from security.trail_places import TrailPlaces
from security.verify_trail import Means, Result, UnreadableError, exit_code_of, lines_of
from server.command_line import ConfigFile, account_name, plain_errors, read_settings
from server.config import Settings
from server.start_error import EXIT_DATA, EXIT_SETTINGS, StartError

_README = """A copy of an audit trail. It holds who, when, from where and how much, never a word.

    python3 verify_trail.py .

says whether it was altered. Needed: Python 3.11 and `pip install cryptography`. It takes {key} from
here: give your own with `--public-key FILE`, and add `--auditor-key FILE` if you keep that key, and
`--known FILE` for checkpoints that were kept elsewhere. The format: docs/audit-format.md.
"""


def join(app: typer.Typer) -> None:
    """Put the commands beside the others that read the trail."""
    app.command("verify")(verify)
    app.command("retain")(retain)
    app.command("copy")(copy)
    app.command("checkpoint")(checkpoint)
    app.command("set-aside")(set_aside)


def verify(
    auditor_key: Annotated[
        Path | None, typer.Option(help="Opens every MAC; best kept on another machine.")
    ] = None,
    known: Annotated[
        list[Path] | None, typer.Option(help="Checkpoints that were kept elsewhere.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Say whether the trail was altered: exit code 0 unaltered, 1 altered, 2 not read."""
    with plain_errors({UnreadableError: 2}):
        settings = read_settings(config)
        places = _existing(settings)
        means = _means(settings, auditor_key, known or [])
        result = verify_trail.verify_folder(places.folder, means)
        _show(result, as_json=as_json)
        for path in places.missing_files():
            print(f"earwitness: {path} is missing: {PUT_BACK}", file=sys.stderr)
        with contextlib.suppress(AuditError):  # one that was altered is not written to
            asyncio.run(_record(settings, TrailVerified(len(result.problems), account_name())))
        raise typer.Exit(exit_code_of(result))


def retain(
    profile: Annotated[
        str | None, typer.Option(help="pci, hipaa, cn or dev; else that of the settings.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Keep this long, if longer.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    config: ConfigFile = None,
) -> None:
    """Let whole files of the trail go that are older than a profile asks for."""
    with plain_errors({UnreadableError: 2}):
        settings = read_settings(config)
        places, name = _existing(settings), profile or settings.audit.retention
        if name is None:
            text = "Say for which rule with --profile, or in the settings: audit.retention."
            raise StartError(text, EXIT_SETTINGS)
        public = open_verifying_key(public_half(places.signing_key_file))
        limit = kept_days(name, days)
        found = expired_segments(places, public, name, limit, time.time_ns())
        if found:
            means = _means(settings)
            if verify_trail.verify_folder(places.folder, means).problems:
                raise AuditError(f"{places.folder} was altered: run.py audit verify; nothing goes")
        if found and not dry_run:
            asyncio.run(_drop(settings, found))
        for expired in found:
            rows = f"rows {expired.rows.first_seq} to {expired.rows.last_seq}"
            print(f"{rows} {'would go' if dry_run else 'are gone'}: {expired.path.name}")
        if not found:
            print(f"Nothing is older than {limit} days in a closed file.")


def copy(
    folder: Annotated[Path, typer.Argument(help="Where; nothing may be there.")],
    config: ConfigFile = None,
) -> None:
    """Copy the trail with what an auditor needs to verify it anywhere."""
    with plain_errors({UnreadableError: 2}):
        settings = read_settings(config)
        places = _existing(settings)
        if folder.exists():
            raise StartError(f"{folder} is there already: name another folder.", EXIT_DATA)
        asyncio.run(_sign_copy(settings))
        key = folder / public_half(places.signing_key_file).name
        (folder / "audit").mkdir(parents=True, mode=0o700)
        try:
            asyncio.run(_copy_folder(places, folder / "audit"))
        except sqlite3.Error as error:
            raise AuditError(f"{places.folder} cannot be copied: {error}") from None
        shutil.copyfile(public_half(places.signing_key_file), key)
        shutil.copyfile(Path(verify_trail.__file__), folder / "verify_trail.py")
        create_file(folder / "README.txt", [_README.format(key=key.name).encode()], 0o644)
        result = verify_trail.verify_folder(folder / "audit", Means(key))
        _show(result)
        raise typer.Exit(exit_code_of(result))


def checkpoint(
    key: Annotated[
        bool, typer.Option("--key", help="Print the public key, as verifiers of notes take it.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Sign the trail as it is now and print that, to be kept where nobody can change it."""
    with plain_errors():
        settings = read_settings(config)
        places = _existing(settings)
        asyncio.run(_record(settings, None))
        newest = _newest(places)
        if newest is None:
            raise AuditError(f"{places.checkpoints_file}: run.py audit verify says what is wrong")
        note, signed = newest
        public = open_verifying_key(public_half(places.signing_key_file))
        print(verifier_key(signed.origin, public) if key else note, end="\n" if key else "")


def set_aside(
    although_unaltered: Annotated[
        bool, typer.Option("--although-unaltered", help="Also one with which nothing is wrong.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Move a trail that does not verify away and begin a new one; stop the server first."""
    with plain_errors():
        settings = read_settings(config)
        places, now = _existing(settings), datetime.now(UTC)
        aside = settings.data_folder / f"{SET_ASIDE}{now:%Y%m%dT%H%M%SZ}"
        with closing(UseLock(places.in_use_file, is_alone=True)):
            if not although_unaltered and _is_sound(settings):
                text = f"{places.folder} is unaltered: it goes on, or give --although-unaltered."
                raise StartError(text, EXIT_DATA)
            _move_aside(places, aside)
            sync_folder(settings.data_folder)
        asyncio.run(_record(settings, None))
        print(f"The former trail lies in {aside}; a new one has begun.")


def _is_sound(settings: Settings) -> bool:
    """Whether the trail verifies and all is there that a server needs to go on with it."""
    places = settings.trail
    if places.missing_files():
        return False
    try:
        return exit_code_of(verify_trail.verify_folder(places.folder, _means(settings))) == 0
    except UnreadableError:
        return False


def _move_aside(places: TrailPlaces, aside: Path) -> None:
    public = public_half(places.signing_key_file)
    aside.mkdir(mode=0o700)
    keys = (places.chain_key_file, places.head_file, places.auditor_key_file)
    for path in [places.folder, *filter(Path.exists, keys)]:
        path.rename(aside / path.name)
    if public.exists():
        shutil.copyfile(public, aside / public.name)
    for changed in (aside, places.keys_folder):
        sync_folder(changed)


def _existing(settings: Settings) -> TrailPlaces:
    if not settings.trail.folder.is_dir():
        raise StartError(f"{settings.trail.folder}: there is no audit trail yet.", EXIT_DATA)
    return settings.trail


def _means(settings: Settings, auditor: Path | None = None, known: Sequence[Path] = ()) -> Means:
    """All that lies on this machine, and what is given besides."""
    places = settings.trail
    copies = [path for path in settings.audit.checkpoint_copies if path.exists()]
    return Means(
        _if_there(public_half(places.signing_key_file)),
        auditor or _if_there(places.auditor_key_file),
        _if_there(places.chain_key_file),
        _if_there(places.head_file),
        (*copies, *known),
    )


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


def _show(result: Result, *, as_json: bool = False) -> None:
    for line in [json.dumps(asdict(result))] if as_json else lines_of(result):
        print(line)


async def _record(settings: Settings, event: AuditEvent | None) -> None:
    """Put it on record, and sign all; only sign without an event."""
    async with await AuditStore.open(settings.trail, time.time_ns, settings.audit) as store:
        if event is not None:
            await store.record(event)
        await store.checkpoint()


async def _sign_copy(settings: Settings) -> None:
    async with await AuditStore.open(settings.trail, time.time_ns, settings.audit) as store:
        await store.record(TrailCopied(store.newest_seq + 1, account_name()))  # which is this row
        await store.checkpoint()


async def _drop(settings: Settings, found: list[Expired]) -> None:
    """Tombstone, row, file: in this order, so that a crash in between loses nothing."""
    places = settings.trail
    key = open_signing_key(places.signing_key_file)
    async with await AuditStore.open(places, time.time_ns, settings.audit) as store:
        for expired in found:
            async with _turn(places):
                note = write_tombstone(places, expired, key, time.time_ns())
            for path in settings.audit.checkpoint_copies:
                try:
                    append_copy(path, note)
                except OSError as error:
                    print(f"earwitness: {path}: {error.strerror}", file=sys.stderr)
            rows, root = expired.rows, expired.end.root.hex()
            span = (rows.first_seq, rows.last_seq)
            await store.record(TrailDropped(*span, rows.profile, root, account_name()))
            remove_segment(expired)


@contextlib.asynccontextmanager
async def _turn(places: TrailPlaces) -> AsyncIterator[None]:
    lock = WriteLock(places.lock_file)
    try:
        async with lock.held():
            yield
    finally:
        lock.close()


async def _copy_folder(places: TrailPlaces, folder: Path) -> None:
    """A consistent one, beside a server that goes on: rows first, then what was signed of them."""
    last_seq = 0
    for path in places.segment_files():
        async with _turn(places):  # opening can write beside the file
            source = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
            source.execute("SELECT count(*) FROM segment").fetchone()
        copied = folder / path.name
        with closing(source), closing(sqlite3.connect(copied, isolation_level=None)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
            [newest] = target.execute("SELECT max(seq) FROM events").fetchone()
        copied.chmod(CLOSED_MODE)
        last_seq = newest or last_seq
    notes = [
        note
        for note, signed in _notes(places)
        if signed is None or signed.size <= last_seq  # the server may have signed more since
    ]
    create_file(folder / "checkpoints", [note.encode() for note in notes], 0o600)


def _notes(places: TrailPlaces) -> list[tuple[str, Checkpoint | None]]:
    public = open_verifying_key(public_half(places.signing_key_file))
    text = places.checkpoints_file.read_text(errors="replace")
    return [(note, open_checkpoint(note, public)) for note in split_notes(text)]


def _newest(places: TrailPlaces) -> tuple[str, Checkpoint] | None:
    """The last one that was signed for rows that are there."""
    signed = [(note, read) for note, read in _notes(places) if read and read.dropped is None]
    return max(signed, key=lambda each: each[1].size, default=None)
