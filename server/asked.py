"""The query of an address in, what the dashboard is asked for out: strict, and of bounded size.

What is wrong is told by the name of its parameter, as it stands here: never by what was sent.
"""

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from starlette.requests import Request

from security.audit_events import EVENT_NAMES
from security.audit_query import TrailFilter
from server import errors
from server.errors import RefusedError

_NS_PER_MS = 1_000_000
_MOST_HOURS = 24 * 366
_MOST_NAMES = 32
_LAST_MS = 253_402_300_799_000  # the year 9999 ends

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Names = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
_Seq = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
ExportKind = Literal["ndjson", "csv", "ocsf"]
_FAMILY = ".*"
_EVENTS = frozenset(EVENT_NAMES.values())
_FAMILIES = frozenset(name.partition(".")[0] + _FAMILY for name in _EVENTS)
_PLACE = re.compile(r"at `\$\.([a-z_]+)`")
"""Where msgspec says that something is wrong."""


class WrongParameterError(RefusedError):
    """A question that cannot be answered for one of its parameters."""

    def __init__(self, parameter: str | None) -> None:
        """`parameter`: one of ours; None: it is none that is known here."""
        super().__init__(errors.BAD_REQUEST)
        self.parameter = parameter


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Filters, all of which must hold."""

    event: _Names | None = None
    """Names or families, with commas between; or several times."""
    outcome: Literal["success", "failure"] | None = None
    subject: _Text | None = None
    session_id: _Text | None = None
    address: _Text | None = None
    token_hash: _Text | None = None
    reason: _Text | None = None
    since: _Ms | None = None
    until: _Ms | None = None
    """Unix time in milliseconds, as the page has it in its own address."""

    def wanted(self) -> TrailFilter:
        """As the trail is asked. Raises WrongParameterError."""
        names = tuple(filter(None, (self.event or "").split(",")))
        if len(names) > _MOST_NAMES or not set(names) <= _EVENTS | _FAMILIES:
            raise WrongParameterError("event")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise WrongParameterError("until")
        return TrailFilter(
            event=names,
            outcome=self.outcome,
            session_id=self.session_id,
            subject=self.subject,
            address=self.address,
            token_hash=self.token_hash,
            reason=self.reason,
            since_utc_ns=None if self.since is None else self.since * _NS_PER_MS,
            until_utc_ns=None if self.until is None else self.until * _NS_PER_MS,
        )


class AskedEvents(_Wanted, frozen=True, forbid_unknown_fields=True):
    """A page of events."""

    before: _Seq | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class AskedFeed(_Wanted, frozen=True, forbid_unknown_fields=True):
    """Events from now on."""

    after: _Seq = 0


class AskedExport(_Wanted, frozen=True, forbid_unknown_fields=True):
    """All events there are."""

    format: ExportKind = "ndjson"


class AskedPeriod(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The time until now."""

    hours: Annotated[int, msgspec.Meta(ge=1, le=_MOST_HOURS)] = 24


_Asked = TypeVar("_Asked", AskedEvents, AskedFeed, AskedExport, AskedPeriod)


def read_query(request: Request, kind: type[_Asked]) -> _Asked:
    """Raises WrongParameterError for what is not known, comes twice or is too long."""
    given = dict[str, str]()
    for name, value in request.query_params.multi_items():
        if name in given and name != "event":
            raise WrongParameterError(_known(name, kind))
        given[name] = f"{given[name]},{value}" if name in given else value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        raise WrongParameterError(place and _known(place[1], kind)) from None


def _known(name: str, kind: type[_Asked]) -> str | None:
    return next((field for field in kind.__struct_fields__ if field == name), None)
