"""The command line of Earwitness: `python run.py serve | demo | doctor | seal | keys | token |
audit`.

Here the parts are joined and nothing is decided. What a person can mend is one line on standard
error and an exit code: 2 a setting or an argument, 3 a model pack, 4 a key file, 5 the data folder
or the audit trail, 6 the port.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from client.captions import Captions
from client.errors import ClientError
from client.sources import FileSource
from client.stream import connect, converse
from client.transcript import Transcript
from security.audit_query import TrailFilter
from security.audit_reader import TrailReader
from security.keys import open_signing_key
from security.process import harden_process
from security.tokens import mint_token
from server import (
    audit_commands,
    key_commands,
    pack_commands,
    provision,
    token_commands,
    trail_commands,
)
from server.audit_shown import row_lines
from server.command_line import ConfigFile, Model, plain_errors, progress_bar, read_settings
from server.config import Settings
from server.doctor.command import doctor
from server.grant import TRANSCRIBE_SCOPE
from server.logs import configure_logs
from server.opening import Opening
from server.serving import Running, running_server
from server.wire import ServerEvent

EXIT_CLIENT = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
audit_app = typer.Typer(no_args_is_help=True, help="Read, verify and keep the audit trail.")
audit_app.add_typer(audit_commands.app)
app.add_typer(pack_commands.app, name="seal")
app.add_typer(key_commands.app, name="keys")
app.add_typer(token_commands.app, name="token")
trail_commands.join(audit_app)
app.add_typer(audit_app, name="audit")
app.command()(doctor)

Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate in PEM; renewed when it changes.")]
TlsKey = Annotated[Path | None, typer.Option(help="The certificate's key in PEM.")]


@app.callback()
def begin() -> None:
    """Earwitness: live transcription that never leaves the building."""
    harden_process()  # before any command touches a key
    configure_logs()


@app.command()
def serve(  # noqa: PLR0913, PLR0917 - one for each option
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    model: Model = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    allow_older_model: Annotated[
        bool, typer.Option(help="Open a version older than one opened before; goes on record.")
    ] = False,
    print_code: Annotated[
        bool,
        typer.Option(help="Print the page's address with its code also where no terminal reads."),
    ] = False,
) -> None:
    """Run the server until it is told to stop."""
    with plain_errors({ClientError: EXIT_CLIENT}):
        settings = read_settings(config, model, host, port, tls_cert, tls_key)
        _prepare(settings)

        async def until_stopped() -> None:
            async with _running(settings, is_older_allowed=allow_older_model) as running:
                print(f"Earwitness listens on {running.url} (model {settings.model})", flush=True)
                if running.sign_in_address and (print_code or sys.stdout.isatty()):
                    print(_invitation(settings, running.sign_in_address), flush=True)
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
    with plain_errors({ClientError: EXIT_CLIENT}):
        settings = read_settings(config, model, port=port)
        listen = replace(settings.listen, access_log=False)  # the terminal is for the captions
        settings = settings.model_copy(update={"listen": listen})
        _prepare(settings)
        recording = provision.demo_recording(settings)
        asyncio.run(_demo(settings, recording, is_once=once))


@asynccontextmanager
async def _running(settings: Settings, *, is_older_allowed: bool = False) -> AsyncIterator[Running]:
    with ExitStack() as stack:
        on_progress = stack.enter_context(progress_bar("Opening the model"))
        async with running_server(settings, Opening(is_older_allowed, on_progress)) as running:
            stack.close()
            yield running


async def _demo(settings: Settings, recording: Path, *, is_once: bool) -> None:
    async with _running(settings) as running:
        session_id = await _transcribe(settings, running, recording)
        print(f"\nIn the audit trail ({settings.trail.folder}), which holds no words:")
        async with TrailReader(settings.trail) as reader:
            rows = await reader.records(TrailFilter(session_id=session_id))
        print("\n".join(row_lines(rows)))
        if not is_once:
            address = running.sign_in_address or f"{running.url}/#token={_demo_token(settings)}"
            print("\nNow you: speak to the page on this machine.")
            print(f"{_invitation(settings, address)}\nCtrl-C ends the server.", flush=True)
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


def _invitation(settings: Settings, address: str) -> str:
    """For the terminal of who started the server: whoever reads it may come in."""
    good = f"once, within {settings.sign_in.code_lifetime_s // 60} minutes of the start"
    until = good if "#code=" in address else "for an hour"
    return f"Open this address in a browser; it is good {until}:\n  {address}"


def _demo_token(settings: Settings) -> str:
    return mint_token(
        open_signing_key(settings.signing_key_file),
        settings.token_policy,
        subject="demo",
        scopes={TRANSCRIBE_SCOPE},
        lifetime_s=settings.token_policy.max_lifetime_s,
        wall_s=_wall_s(),
    )


def _prepare(settings: Settings) -> None:
    """Everything that needs no event loop: the keys and the pack."""
    provision.make_keys(settings)
    provision.make_pack(settings, print)


def _wall_s() -> float:
    return time.time()  # noqa: TID251 - the shell that owns the wall clock


if __name__ == "__main__":
    app()
