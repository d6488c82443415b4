"""What the settings say of the network in; findings on who can reach the server, and how, out.

Nothing is asked of anybody but the server's own port, on this machine; a JWKS address is looked at
only by the `fetch` that the caller brings.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificates

from security.errors import KeyFileError
from server.doctor.finding import Finding, bad, ok, sentence_of, warn

EXPIRES_SOON = timedelta(days=30)
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
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
    """Whether certificate and key can be used, together, and for how long."""
    check = "tls"
    if cert is None or key is None:
        if cert is key:
            return [ok(check, "the settings name no certificate.")]
        text = "of certificate and key the settings name one."
        return [bad(check, text, "name both, or none.")]
    try:
        certificate = load_pem_x509_certificates(cert.read_bytes())[0]
    except (OSError, ValueError):
        text = "the certificate cannot be read."
        return [bad(check, text, "bring it back, in PEM, readable for this account.", str(cert))]
    return [_key_finding(certificate, key), _time_finding(certificate, now, str(cert))]


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
    issuer: str,
    keys: str,
    open_file: Callable[[Path], object],
    fetch: Callable[[str], bool] | None,
) -> Finding:
    """Whether the keys of another issuer can be had, from a file or an address."""
    check = "issuer"
    if "://" not in keys:
        try:
            open_file(Path(keys))
        except KeyFileError as fault:
            return bad(check, sentence_of(fault), "bring the issuer's keys back.", issuer)
        return ok(check, "its keys are there.", issuer)
    if _is_plain(keys):
        text = "its keys are fetched in plain: whoever is on the way can be anybody."
        return bad(check, text, "name an https address.", issuer)
    if fetch is None:
        return ok(check, "its keys come by https; --online fetches them.", issuer)
    if not fetch(keys):
        text = "its keys cannot be fetched from here."
        return bad(check, text, "see to the network, the authorities or the address.", issuer)
    return ok(check, "its keys can be fetched.", issuer)


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
    text = "it is switched off: peers who do nothing can fill the server."
    remedy = "take it out of the settings, which gives the default."
    return [bad(check, text, remedy, name) for name in off] or [ok(check, "all are in use.")]


def _key_finding(certificate: Certificate, key: Path) -> Finding:
    check, about = "tls key", str(key)
    try:
        mode, pem = key.stat().st_mode, key.read_bytes()
        public = load_pem_private_key(pem, password=None).public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        remedy = "bring it back, in PEM, without passphrase, readable for this account."
        return bad(check, "it cannot be read.", remedy, about)
    if public.public_bytes(*_SPKI) != certificate.public_key().public_bytes(*_SPKI):
        return bad(check, "it is not the certificate's.", "name the two that belong.", about)
    if mode & 0o007:
        return bad(check, "every account can read it.", "chmod o-rwx, and get a new one.", about)
    return ok(check, "it is the certificate's.", about)


def _time_finding(certificate: Certificate, now: datetime, about: str) -> Finding:
    check = "tls certificate"
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
