"""What the settings say of the network in; findings on who can reach the server, and how, out.

Nothing is asked of anybody here: the port and the address of an issuer's keys are looked at by what
the caller brings.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from security.errors import KeyFileError, ProviderError, TokenKeyError
from security.issuers import IssuerSettings
from security.key_files import issuer_keys
from security.keys import read_checked
from security.provider_settings import ProviderSettings
from security.token_keys import KeySet
from server.doctor.finding import Finding, bad, ok, sentence_of, warn
from server.tls import Certificate

EXPIRES_SOON = timedelta(days=30)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it, by the name or address itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_exposure(host: str, *, has_tls: bool, has_proxies: bool) -> Finding:
    """Whether tokens and voices could go over a network in plain."""
    check = "exposure"
    if is_loopback(host):
        return ok(check, "only this machine reaches the server.")
    if has_tls:
        return ok(check, "other machines reach the server, by TLS.")
    if has_proxies:
        return ok(check, "other machines reach the server, by a proxy that is trusted.")
    text = "other machines reach the server in plain: tokens and voices can be overheard."
    return bad(check, text, "set listen.tls_cert and tls_key, or put a proxy in front of it.")


def check_tls(cert: Path | None, key: Path | None, now: datetime) -> list[Finding]:
    """Whether the server would take certificate and key, and for how long."""
    check = "tls"
    if cert is None or key is None:  # the settings hold both or none
        return [ok(check, "the settings name no certificate.")]
    try:
        Certificate(cert, key)
        certificate = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (KeyFileError, OSError, ValueError) as fault:
        said = sentence_of(fault) if isinstance(fault, KeyFileError) else "it cannot be read."
        return [bad(check, said, "mend what it says, or get a new pair.", str(cert))]
    return [
        ok(check, "certificate and key belong together.", str(cert)),
        _time_finding(certificate, now, str(cert)),
    ]


def check_origins(origins: Sequence[str]) -> list[Finding]:
    """Whether pages may connect that came in plain, or never can as they are spelt."""
    check = "origins"
    faults: list[Finding] = []
    for origin in origins:
        if not _is_origin(origin):
            remedy = "write scheme, host and port as browsers do: https://host, no path."
            faults.append(bad(check, "no browser spells an origin so.", remedy, origin))
        elif _is_plain(origin):
            text = "its pages come in plain: whoever is on the way can change them."
            faults.append(bad(check, text, "serve them by https.", origin))
    return faults or [ok(check, "each is https, or on this machine.")]


def check_issuer(
    settings: IssuerSettings, fetch: Callable[[IssuerSettings], KeySet] | None
) -> Finding:
    """Whether the keys of another issuer can be had, from a file or an address."""
    check, about = "issuer", settings.issuer
    if settings.is_fetched and fetch is None:
        return ok(check, "its keys come from an address; --online fetches them.", about)
    try:
        if settings.is_fetched and fetch is not None:
            fetch(settings)
        else:
            issuer_keys(Path(settings.keys), settings.algorithm, settings.key_id)
    except (KeyFileError, TokenKeyError) as fault:
        remedy = "bring its keys back, or see to the network, the authorities and the address."
        return bad(check, sentence_of(fault), remedy, about)
    return ok(check, "its keys can be had.", about)


def check_provider(
    settings: ProviderSettings, look: Callable[[ProviderSettings], None] | None
) -> Finding:
    """Whether people can sign in by their provider; `look` asks it, raising ProviderError."""
    check, about = "provider", settings.issuer
    try:
        if settings.client_secret_file is not None:
            read_checked(settings.client_secret_file, is_secret=True)
        if look is not None:
            look(settings)
    except KeyFileError as fault:
        remedy = "bring the file back, and close it to other accounts: chmod 600."
        return bad(check, sentence_of(fault), remedy, about)
    except ProviderError as fault:
        remedy = "see to sign_in.provider's issuer and algorithm, the network and the authorities."
        return bad(check, f"it cannot be worked with ({fault.reason}).", remedy, about)
    if look is None:
        return ok(check, "its settings fit; --online asks it.", about)
    return ok(check, "it answers, and its keys can be had.", about)


def check_port(port: int, is_bindable: bool, is_ours: Callable[[], bool]) -> Finding:
    """Whether the server can listen, or already does; `is_ours` asks for its health."""
    check = "port"
    if is_bindable:
        return ok(check, "it is free.", str(port))
    if is_ours():
        return ok(check, "a server of ours answers.", str(port))
    text = "it cannot be had, and what answers there is not ours."
    return bad(check, text, "choose another listen.port, or end the other program.", str(port))


def check_time_outs(settings: object) -> list[Finding]:
    """Whether a peer who does nothing is waited for for ever; all `…_limit_s` of the settings."""
    check = "time-outs"
    off = [name for name, limit_s in _limits("", settings) if not 0 < limit_s < math.inf]
    text = "it is 0 or endless: nobody is served, or peers who do nothing fill the server."
    remedy = "take it out of the settings, which gives the default."
    return [bad(check, text, remedy, name) for name in off] or [ok(check, "all are in use.")]


def _time_finding(certificate: x509.Certificate, now: datetime, about: str) -> Finding:
    check = "tls expiry"
    if now >= certificate.not_valid_after_utc:
        return bad(check, "it has expired.", "get a new one; it is read when it changes.", about)
    if now < certificate.not_valid_before_utc:
        return bad(check, "it is not valid yet.", "look at the clock.", about)
    if certificate.not_valid_after_utc - now < EXPIRES_SOON:
        return warn(check, "it expires within 30 days.", "renew it.", about)
    return ok(check, "it is good for 30 days and more.", about)


def _is_plain(address: str) -> bool:
    """Whether it goes over a network, and not by https."""
    parts = urlsplit(address)
    return parts.scheme != "https" and not is_loopback(parts.hostname or "")


def _is_origin(text: str) -> bool:
    """Whether it is spelt as browsers spell it: lower case, no path, no default port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return False
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown_port = "" if port is None or port == _DEFAULT_PORTS[parts.scheme] else f":{port}"
    return text == f"{parts.scheme}://{host}{shown_port}" and "*" not in host


def _limits(prefix: str, group: object) -> Iterator[tuple[str, float]]:
    """Every limit of time, by its key."""
    names = [field.name for field in fields(group)] if is_dataclass(group) else vars(group)
    for name in names:
        value = getattr(group, name)
        if is_dataclass(value):
            yield from _limits(f"{prefix}{name}.", value)
        elif name.endswith("_limit_s") and isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)


def utc_of(wall_s: float) -> datetime:
    """A Unix time as certificates have it."""
    return datetime.fromtimestamp(wall_s, UTC)
