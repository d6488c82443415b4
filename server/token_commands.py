"""`run.py token …`: what a token shall say in, the token out; a token in, what it says, or its end.

Making a token and revoking one are on record, with hashes of ids and never with the token; what
cannot be recorded is not made, but is revoked all the same. A token is read from a file or from
standard input: on a command line, everybody on the machine would see it.
"""

import asyncio
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from security.audit import clean, token_hash_of
from security.audit_events import TokenMinted
from security.errors import AuditError, TokenError
from security.issuers import Issuers, open_issuers, open_local_issuer
from security.keys import open_signing_key
from security.limits import Limits
from security.revocation_file import RevocationFile, append_revocation
from security.revocations import Revocation, RevokedToken
from security.signed import decode_part, read_signed
from security.token_keys import key_id_of
from security.tokens import ADMIN_SCOPES, Claims, TokenPolicy, mint_token
from server import provision
from server.command_line import (
    ConfigFile,
    account_name,
    plain_errors,
    read_settings,
    record,
)
from server.config import Settings
from server.grant import SCOPES, TRANSCRIBE_SCOPE
from server.listener import url_of
from server.revoking import event_of, policy_of, revocation_of
from server.sign_in import PROVIDER_SUBJECTS
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_SETTINGS, StartError

EXIT_REFUSED = 1
"""Of `inspect`, when the server would not accept the token."""
_MOST_INPUT_BYTES = 1 << 16
_MOST_SUBJECT_CHARS = 255
_TIMES = {"iat", "nbf", "exp"}
_SHOWN = ("iss", "sub", "aud", "jti", "iat", "nbf", "exp", "scope", "earwitness")
app = typer.Typer(no_args_is_help=True, help="Tokens for clients.")
TokenFile = Annotated[Path, typer.Option(help="A file that holds the token; - is standard input.")]


@app.command("mint")
def mint(  # noqa: PLR0913, PLR0917 (options: what the token says)
    subject: Annotated[str, typer.Option(help="Who it is for.")] = "developer",
    lifetime_s: Annotated[int, typer.Option(min=1, help="How long it is good.")] = 900,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="transcribe (the default), calls, admin, audit; may be repeated."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model it allows, instead of any; may be repeated.")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="A language, instead of any; may be repeated.")
    ] = None,
    call_owner: Annotated[
        list[str] | None,
        typer.Option(help="Whose calls it reads, instead of its own; * is everybody's."),
    ] = None,
    call: Annotated[
        list[str] | None, typer.Option(help="A call it reads, instead of any; may be repeated.")
    ] = None,
    audio_s: Annotated[
        int | None, typer.Option("--audio-s", min=0, help="Audio one session may send.")
    ] = None,
    byte_limit: Annotated[
        int | None, typer.Option("--bytes", min=0, help="Bytes one session may send.")
    ] = None,
    session_s: Annotated[
        int | None, typer.Option("--session-s", min=0, help="How long one may last.")
    ] = None,
    idle_s: Annotated[
        int | None, typer.Option("--idle-s", min=0, help="How long one may say nothing.")
    ] = None,
    pace: Annotated[
        int | None, typer.Option("--pace", min=0, help="How fast, in percent of real time.")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option("--sessions", min=0, help="Sessions at a time.")
    ] = None,
    day_audio_s: Annotated[
        int | None, typer.Option("--day-audio-s", min=0, help="Audio a day, in all.")
    ] = None,
    starts: Annotated[
        int | None, typer.Option("--starts", min=0, help="Sessions begun a minute.")
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Print the page's address with the token in it.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Of the server, for --page, if its settings do not say it.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Print a token, and nothing else."""
    limits = Limits(audio_s, byte_limit, session_s, idle_s, pace, sessions, day_audio_s, starts)
    with plain_errors():
        settings = read_settings(config, port=port)
        provision.make_keys(settings)
        scopes, token_id = set(scope or [TRANSCRIBE_SCOPE]), secrets.token_hex(16)
        _check_wishes(settings, scopes, subject, lifetime_s)
        address = _page_of(settings) if page else None
        signing_key = open_signing_key(settings.signing_key_file)
        _check_signing_key(settings, key_id_of(signing_key.public_key()))
        token = mint_token(
            signing_key,
            settings.token_policy,
            subject=subject,
            scopes=scopes,
            lifetime_s=lifetime_s,
            wall_s=_wall_s(),
            token_id=token_id,
            limits=limits,
            models=set(model) if model else None,
            languages=set(language) if language else None,
            call_owners=set(call_owner) if call_owner else None,
            calls=set(call) if call else None,
        )
        who = (subject, settings.token_policy.issuer, token_id)
        record(settings, TokenMinted(*who, " ".join(sorted(scopes)), lifetime_s, account_name()))
        print(f"{address}/#token={token}" if address else token)


@app.command("inspect")
def inspect(token_file: TokenFile = Path("-"), config: ConfigFile = None) -> None:
    """Say what a token holds, and whether this server would accept it; 1 if it would not."""
    with plain_errors():
        settings = read_settings(config)
        token = _read_token(token_file)
        for line in _told(token):
            print(line)
        reason = asyncio.run(_refusal_of(settings, token))
        print(f"accepted: {'yes' if reason is None else f'no, {reason}'}")
    if reason is not None:
        raise typer.Exit(EXIT_REFUSED)


@app.command("revoke")
def revoke(
    token_file: Annotated[
        Path | None, typer.Option(help="The token in this file; - is standard input.")
    ] = None,
    token_id: Annotated[str | None, typer.Option(help="The token of this id.")] = None,
    subject: Annotated[str | None, typer.Option(help="All that it was issued until now.")] = None,
    key_id: Annotated[str | None, typer.Option(help="All that this key signs, for good.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Whose; by default, our own.")] = None,
    config: ConfigFile = None,
) -> None:
    """Let a token, a subject's tokens so far or a key count no more; ends their sessions, too."""
    with plain_errors():
        settings = read_settings(config)
        if sum(given is not None for given in (token_file, token_id, subject, key_id)) != 1:
            text = "Say what to revoke: one of --token-file, --token-id, --subject, --key-id."
            raise StartError(text, EXIT_SETTINGS)
        if token_file is not None:
            revocation: Revocation = asyncio.run(_of_token(settings, _read_token(token_file)))
        else:
            revocation = revocation_of(
                _policy_of(settings, issuer),
                _wall_s(),
                token_id=token_id,
                subject=subject,
                key_id=key_id,
            )
        append_revocation(settings.revocations_file, revocation)
        try:
            record(settings, event_of(revocation))
        except AuditError as error:  # what was taken away stays so
            raise StartError(
                f"It counts no more, but is not on record. {error}", EXIT_DATA
            ) from None
        print("It counts no more; a server that runs knows it within a second.")


def _check_wishes(settings: Settings, scopes: set[str], subject: str, lifetime_s: int) -> None:
    """What no server would accept is not made. Raises StartError."""
    most_s = settings.token_policy.max_lifetime_s
    if lifetime_s > most_s:
        raise StartError(f"--lifetime-s: {most_s} at most", EXIT_SETTINGS)
    if not 0 < len(subject) <= _MOST_SUBJECT_CHARS:
        raise StartError(f"--subject: 1 to {_MOST_SUBJECT_CHARS} characters", EXIT_SETTINGS)
    if subject.startswith(PROVIDER_SUBJECTS):
        text = f"--subject: {PROVIDER_SUBJECTS} is how people are called who sign in elsewhere"
        raise StartError(text, EXIT_SETTINGS)
    if not scopes <= SCOPES:
        raise StartError(f"--scope: of {', '.join(sorted(SCOPES))}", EXIT_SETTINGS)
    if not (scopes <= ADMIN_SCOPES or scopes.isdisjoint(ADMIN_SCOPES)):
        text = "--scope: transcribe and calls, or admin and audit, whose tokens open no session"
        raise StartError(text, EXIT_SETTINGS)


def _page_of(settings: Settings) -> str:
    """Where people see the page. Raises StartError."""
    listen = settings.listen
    if listen.port == 0 and settings.sign_in.address is None:
        text = "--page: which port the server has is not known; give --port"
        raise StartError(text, EXIT_SETTINGS)
    scheme = "http" if listen.tls_cert is None else "https"
    return settings.sign_in.address or url_of(listen.host, listen.port, scheme)


def _check_signing_key(settings: Settings, key_id: str) -> None:
    """A key that was revoked signs nothing more. Raises StartError."""
    revoked = RevocationFile(settings.revocations_file, _wall_s()).current
    if revoked.is_key_revoked(settings.token_policy.issuer, key_id):
        text = "The signing key is revoked: run.py keys rotate-signing makes a new one."
        raise StartError(text, EXIT_KEYS)


async def _of_token(settings: Settings, token: str) -> Revocation:
    """Only what is really ours to revoke: a forged one could name another's id."""
    claims = await _verify(_open_issuers(settings), token)
    leeway_s = _policy_of(settings, claims.issuer).leeway_s
    return RevokedToken(claims.issuer, claims.token_id, claims.expires_at_s + leeway_s)


async def _refusal_of(settings: Settings, token: str) -> str | None:
    """Why the server would refuse it, as the trail would say."""
    try:
        claims = await _verify(_open_issuers(settings), token)
    except TokenError as error:
        return f"token_{error.reason}"
    revoked = RevocationFile(settings.revocations_file, _wall_s()).current
    return revoked.is_revoked(claims)


async def _verify(issuers: Issuers, token: str) -> Claims:
    await issuers.refresh()
    return issuers.verifier.verify(token, _wall_s())


def _told(token: str) -> list[str]:
    """What it says, true or not, without what would let somebody use it."""
    try:
        text = read_signed(token)
        claims = decode_part(text.payload)
    except TokenError:
        return ["not a token"]
    header = text.header
    lines = [f"{name}: {_shown(header[name])}" for name in ("alg", "typ", "kid") if name in header]
    for name in (name for name in _SHOWN if name in claims):
        at = _time(claims[name]) if name in _TIMES else ""
        lines.append(f"{name}: {_shown(claims[name])}{at}")
    if isinstance(claims.get("jti"), str):
        lines.append(f"token_hash: {token_hash_of(str(claims['jti']))}")
    if others := len(claims.keys() - set(_SHOWN)):
        lines.append(f"claims that mean nothing here: {others}")
    return lines


def _shown(value: object) -> str:
    """A stranger's words, made harmless for a terminal."""
    return clean(str(value))


def _time(value: object) -> str:
    try:
        return f" ({datetime.fromtimestamp(int(str(value)), UTC):%Y-%m-%d %H:%M:%S}Z)"
    except (ValueError, OverflowError, OSError):
        return ""


def _read_token(path: Path) -> str:
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            return file.read(_MOST_INPUT_BYTES).decode("ascii", "replace").strip()
    except OSError as error:
        raise StartError(f"--token-file: {path}: {error.strerror}", EXIT_SETTINGS) from None


def _policy_of(settings: Settings, issuer: str | None) -> TokenPolicy:
    """Raises StartError for one that is not on the list."""
    found = policy_of(settings.policies, issuer)
    if found is None:
        raise StartError("The settings name no such issuer: see --issuer.", EXIT_SETTINGS)
    return found


def _open_issuers(settings: Settings) -> Issuers:
    local = open_local_issuer(
        settings.token_policy, settings.signing_key_file, settings.retired_keys_file
    )
    return open_issuers(local, settings.issuers, time.monotonic)


def _wall_s() -> float:
    return time.time()  # noqa: TID251 - a command owns the wall clock
