"""`run.py doctor`: the settings in use in, a line for each finding out, and an exit code.

It changes nothing and goes on record nowhere. 0: nothing is bad; 1: something is; 2: the settings
themselves cannot be read. Keys of packs that lie in a service are asked for as at a start; nothing
else leaves this machine unless `--online` is given.
"""

import asyncio
import json
import os
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Annotated

import typer

from security.issuers import IssuerSettings
from security.jwks import JwksAddress
from security.keys import open_key_file, open_verifying_key, public_half
from security.oidc import Provider
from security.provider_settings import ProviderSettings
from security.token_keys import KeySet, decode_jwks
from server.command_line import ConfigFile, Model, plain_errors, read_settings
from server.config import Settings
from server.doctor import chain, host, keys, model, network, redis_store, trail, versions
from server.doctor.bridges import check_bridges
from server.doctor.finding import Finding, exit_code_of

_PACKAGE = "earwitness"
_ASK_LIMIT_S = 5.0
_MOST_HEALTH_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for besides."""

    is_full: bool = False
    is_online: bool = False


def doctor(
    config: ConfigFile = None,
    model: Model = None,
    full: Annotated[bool, typer.Option("--full", help="Verify every byte of the pack.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Fetch the keys of other issuers, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
) -> None:
    """Check this installation and say what to mend; changes nothing."""
    with plain_errors():
        settings = read_settings(config, model)
    findings: list[Finding] = []
    for finding in findings_of(settings, Asked(full, online), time.time_ns()):
        print(finding.json_line if as_json else finding.line, flush=True)
        findings.append(finding)
    raise typer.Exit(exit_code_of(findings))


def findings_of(settings: Settings, asked: Asked, wall_ns: int) -> Iterator[Finding]:
    """All that there is to say, as it is found."""
    wall_s = wall_ns / 1e9
    yield from _key_findings(settings, wall_s)
    finding, card = model.check_pack(settings, is_full=asked.is_full)
    yield finding
    yield model.check_slots(settings)
    if card is not None:
        yield model.check_device(card.engine, settings.transformers.device, model.has_cuda)
    finding, newest_ns = trail.check_trail(settings.trail)
    yield finding
    yield trail.check_space(settings.data_folder)
    yield trail.check_sqlite(sqlite3.sqlite_version_info)
    yield trail.check_order(newest_ns, wall_ns)
    yield from _chain_findings(settings, wall_ns)
    yield from _host_findings()
    yield from versions.check_versions(
        requires(_PACKAGE) or (),
        metadata(_PACKAGE).get_all("Provides-Extra") or (),
        versions.installed_version,
    )
    yield from check_bridges(settings.bridges)
    yield from _network_findings(settings, asked, wall_s)


def _key_findings(settings: Settings, wall_s: float) -> Iterator[Finding]:
    euid = os.geteuid()
    folders = {settings.data_folder: False, settings.keys_folder: True}
    for folder, is_secret in folders.items():
        yield keys.check_folder(folder, is_secret=is_secret, euid=euid)
    signing = settings.signing_key_file
    yield keys.check_key_file("signing key", public_half(signing), open_verifying_key)
    yield from keys.check_signing_key(signing, wall_s)
    yield keys.check_revocations(settings.revocations_file)
    yield keys.check_retired_keys(settings.retired_keys_file, wall_s)
    if not settings.packs.keys:
        yield keys.check_key_file("pack key", settings.pack_key_file, open_key_file)
    for path in settings.publisher_files:
        yield keys.check_key_file("publisher key", path, open_verifying_key)
    is_reachable = not network.is_loopback(settings.listen.host) or _has_proxies(settings)
    yield keys.check_publisher_key(settings.publisher_key_file, is_reachable=is_reachable)


def _chain_findings(settings: Settings, wall_ns: int) -> Iterator[Finding]:
    places, audit = settings.trail, settings.audit
    yield chain.check_auditor_key(places.auditor_key_file)
    yield from chain.check_chain(places)
    yield chain.check_checkpoint(places, audit.checkpoint_every_s, wall_ns)
    yield chain.check_copies(audit.checkpoint_copies)
    yield chain.check_retention(audit.retention)


def _host_findings() -> Iterator[Finding]:
    yield host.check_clock(host.is_clock_synchronised())
    yield host.check_cores(host.core_limit_bytes(), host.is_dumpable())
    yield host.check_tracing(host.ptrace_scope())
    yield host.check_swap(host.read_text(Path("/proc/swaps")), host.is_swap_encrypted)
    yield host.check_account(os.geteuid())


def _network_findings(settings: Settings, asked: Asked, wall_s: float) -> Iterator[Finding]:
    listen = settings.listen
    has_tls = listen.tls_cert is not None
    yield network.check_exposure(listen.host, has_tls=has_tls, has_proxies=_has_proxies(settings))
    yield from network.check_tls(listen.tls_cert, listen.tls_key, network.utc_of(wall_s))
    yield from network.check_origins(listen.origins)
    for other in settings.issuers:
        yield network.check_issuer(other, fetched_keys if asked.is_online else None)
    if (provider := settings.sign_in.provider) is not None:
        yield network.check_provider(provider, look_at if asked.is_online else None)
    yield network.check_port(
        listen.port,
        is_bindable(listen.host, listen.port),
        lambda: is_ours(listen.host, listen.port, has_tls=has_tls),
    )
    yield from network.check_time_outs(settings)
    yield chain.check_metrics(listen.metrics_from)
    yield chain.check_metrics_answer(metrics_status(listen.host, listen.port, has_tls=has_tls))
    yield from redis_store.check_redis(settings.subjects)


def _has_proxies(settings: Settings) -> bool:
    return bool(settings.listen.trusted_proxies)


def is_bindable(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((address, port), family=family):
            return True
    except OSError:
        return False


def is_ours(address: str, port: int, *, has_tls: bool) -> bool:
    """Whether what listens there says that it is well in our words."""
    try:
        status, body = _get(_reached_at(address), port, "/healthz", has_tls=has_tls)
        return status == HTTPStatus.OK and bool(json.loads(body)["server"] == "earwitness")
    except (OSError, HTTPException, ValueError, TypeError, KeyError):
        return False


def metrics_status(address: str, port: int, *, has_tls: bool) -> int | None:
    """What our own server answers a scraper of this machine with; None if none answers."""
    try:
        if is_bindable(address, port) or not is_ours(address, port, has_tls=has_tls):
            return None
        return _get(_reached_at(address), port, "/metrics", has_tls=has_tls)[0]
    except (OSError, HTTPException):
        return None


def _reached_at(address: str) -> str:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (what a server may bind)
    return everywhere.get(address, address)


def look_at(provider: ProviderSettings) -> None:
    """Whether it can be worked with. Raises ProviderError."""
    asyncio.run(Provider(provider, time.monotonic).look())


def fetched_keys(issuer: IssuerSettings) -> KeySet:
    """As the server would fetch them. Raises TokenKeyError."""
    address = JwksAddress(issuer.keys, issuer.ca_file, issuer.proxy)
    return decode_jwks(asyncio.run(address.fetch()), issuer.algorithm)


def _get(address: str, port: int, path: str, *, has_tls: bool) -> tuple[int, bytes]:
    """Our own port's answer, whatever certificate it shows on this machine."""
    connection: HTTPConnection
    if has_tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = HTTPSConnection(address, port, timeout=_ASK_LIMIT_S, context=context)
    else:
        connection = HTTPConnection(address, port, timeout=_ASK_LIMIT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_HEALTH_BYTES)
    finally:
        connection.close()
