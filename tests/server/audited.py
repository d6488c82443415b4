"""Events of the trail with only what a test is about said."""

from dataclasses import fields
from typing import TypeVar

from security.door_events import SessionEnded

_Event = TypeVar("_Event")
_SAID = {str: "x", int: 1}


def event_of(kind: type[_Event], **given) -> _Event:
    """One of that kind; what is not given is something or nothing."""
    known = {field.name: _SAID.get(field.type) for field in fields(kind)}
    return kind(**{**known, **given})


def ended(reason: str = "stopped", **given) -> SessionEnded:
    return event_of(SessionEnded, reason=reason, **given)
