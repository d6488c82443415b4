"""Settings of one provider of identities in, what is wrong with them out.

The client's secret lies in a file, as every secret does; a provider that knows public clients needs
none: the code's exchange is bound to its beginning in any case.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from security.addresses import is_safe_address

_MOST_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Who says for us who somebody is: OpenID Connect, the authorisation code flow with PKCE."""

    issuer: str
    """Its address, exactly as its ID tokens have it in `iss`; https, or http on this machine."""
    client_id: str
    """What it calls this server."""
    name: str
    """What people know it by: "Sign in with …"."""
    client_secret_file: Path | None = None
    """Closed to other accounts; read again for each sign-in. None: a public client."""
    scopes: tuple[str, ...] = ("openid",)
    """What is asked for; `openid` is always."""
    algorithm: Literal["RS256", "ES256", "EdDSA"] = "RS256"
    """The one that its ID tokens are signed with."""
    required_claim: str | None = None
    """Of the ID token; None: everybody whom the provider knows is let in."""
    required_value: str | None = None
    """What that claim has to be, or to hold if it is a list."""
    leeway_s: int = 30
    """How far two clocks may differ."""
    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    proxy: str | None = None
    """The proxy by which it is reached; the environment names none."""


def provider_faults(settings: ProviderSettings) -> list[str]:
    """By field and rule, never by value; empty if nothing is wrong."""
    rules = {
        "issuer: an https address, or http on this machine, without ?, # and password": (
            is_safe_address(settings.issuer) and not {"?", "#", " "} & set(settings.issuer)
        ),
        "client_id: not empty": bool(settings.client_id),
        f"name: 1 to {_MOST_NAME_CHARS} characters": 0 < len(settings.name) <= _MOST_NAME_CHARS,
        "scopes: words without spaces": all(
            scope and not {" ", '"', "\\"} & set(scope) for scope in settings.scopes
        ),
        "required_claim: required_claim and required_value go together": (
            (settings.required_claim is None) is (settings.required_value is None)
        ),
        "proxy: an http or https address": (
            settings.proxy is None or settings.proxy.startswith(("http://", "https://"))
        ),
    }
    return [rule for rule, is_kept in rules.items() if not is_kept]
