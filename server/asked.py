"""The query of an address in, what the dashboard is asked for out: strict, and of bounded size."""

from typing import Annotated, Literal, TypeVar

import msgspec
from starlette.requests import Request

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


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Filters, all of which must hold."""

    event: _Names | None = None
    """Names or families, with commas between."""
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
        """As the trail is asked. Raises RefusedError."""
        names = tuple(filter(None, (self.event or "").split(",")))
        if len(names) > _MOST_NAMES:
            raise RefusedError(errors.BAD_REQUEST)
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
    """Raises RefusedError for what is not known, comes twice or is too long."""
    given = request.query_params.multi_items()
    if len(dict(given)) < len(given):
        raise RefusedError(errors.BAD_REQUEST)
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError:
        raise RefusedError(errors.BAD_REQUEST) from None
