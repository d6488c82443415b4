"""All settings and their defaults in, one event that tells two configurations apart out.

The digest is over every value, so that a start with other settings is seen as such; the keys that
are not at their default are named, their values never. What could be a secret takes no part in the
digest, which somebody could try words against: the name, password and query of an address.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from security.audit_events import ServerConfigured

_ADDRESS = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:")
_USER = re.compile(r"//.*@", re.DOTALL)  # to the last @: a password may hold any other


def configured(settings: Mapping[str, object], defaults: Mapping[str, object]) -> ServerConfigured:
    """Both as JSON would hold them, groups within groups."""
    values, usual = dict(_flat("", settings)), dict(_flat("", defaults))
    changed = [key for key in sorted(values) if usual.get(key, _MISSING) != values[key]]
    encoded = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    return ServerConfigured(hashlib.sha256(encoded).hexdigest(), " ".join(changed))


_MISSING = object()


def _flat(prefix: str, group: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in group.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, _without_secrets(value)


def _without_secrets(value: object) -> object:
    match value:
        case str() if _ADDRESS.match(value):
            return re.split(r"[?#]", _USER.sub("//", value), maxsplit=1)[0]
        case Mapping():
            return {name: _without_secrets(each) for name, each in value.items()}
        case list():
            return [_without_secrets(each) for each in value]
        case _:
            return value
