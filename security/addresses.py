"""An address of somebody else in; whether what is said there stays between the two of us out.

Over https, or in plain to this very machine, where a proxy or a test may answer. No password in it:
addresses are shown and logged.
"""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def is_safe_address(address: str) -> bool:
    """Whether it is one of https, or of http on this machine."""
    try:
        parts = urlsplit(address)
        is_named = bool(parts.hostname) and parts.username is None and parts.password is None
        return is_named and (parts.scheme == "https" or _is_this_machine(parts))
    except ValueError:
        return False


def is_origin(address: str) -> bool:
    """Whether it is a safe address as browsers name a page's origin: no path, nothing behind."""
    try:
        parts = urlsplit(address)
        is_spelt = address == f"{parts.scheme}://{parts.netloc}" and address == address.lower()
        return is_spelt and is_safe_address(address) and parts.port != _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return False


_PORTS = {"http": 80, "https": 443}


def _is_this_machine(parts: SplitResult) -> bool:
    if parts.scheme != "http":
        return False
    return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
