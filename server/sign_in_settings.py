"""Settings of signing in to the page, and what is wrong with them."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from security.addresses import is_origin
from security.provider_settings import ProviderSettings, provider_faults

_MOST_LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class SignInSettings:
    """How people without a token of their own get one for the page."""

    has_start_code: bool = True
    """Whether a server that starts has a code that signs one person in."""
    code_lifetime_s: Annotated[int, Ge(1), Le(3600)] = 600
    """Of that code, from the start."""
    token_lifetime_s: Annotated[int, Ge(60), Le(_MOST_LIFETIME_S)] = 900
    """Of the page's tokens, which it renews."""
    longest_s: Annotated[int, Ge(60), Le(604_800)] = 28_800
    """From signing in to the end of the last token; then people sign in again."""
    address: str | None = None
    """The page's origin, where people see it: https://captions.example. None: what the server
    listens on. Never what a request says."""
    provider: ProviderSettings | None = None
    """Who says who somebody is."""


def sign_in_faults(settings: SignInSettings, most_lifetime_s: int) -> list[str]:
    """A line for each, by key and rule, never by value."""
    faults = []
    if settings.address is not None and not is_origin(settings.address):
        faults.append("address: an origin, https, or http on this machine, as browsers spell it")
    if settings.token_lifetime_s > most_lifetime_s:
        faults.append("token_lifetime_s: at most token_policy.max_lifetime_s")
    if settings.provider is not None:
        faults += [f"provider.{fault}" for fault in provider_faults(settings.provider)]
    return faults
