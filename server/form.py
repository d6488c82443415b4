"""Chunks of a multipart body in, as they come; its known fields out, and its file to where it is
to be kept.

Not a library's parser: those that there are write files over a megabyte to the disk and log what
the peer sent. Fields that nobody knows are let by and not kept. Refuses: a body that is no form or
ends too soon, a field given twice, two files, too many parts and long ones; with `RefusedError`,
whose text is constant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from server import errors
from server.errors import RefusedError

FILE = "file"
_MEDIA_TYPE = "multipart/form-data"
_MOST_BOUNDARY_CHARS = 70  # RFC 2046 section 5.1.1
_END_OF_HEADERS = b"\r\n\r\n"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (of RFC 9110: a word of a header)
_PARAMETER = re.compile(rf';[ \t]*({_TOKEN}\*?)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How much of a form is taken."""

    most_parts: int = 32
    most_field_bytes: int = 16_384
    most_header_bytes: int = 1_024
    """Of one part; all of them are read in the event loop."""


class FileSink(Protocol):
    """Takes the file."""

    def append(self, part: memoryview, /) -> None:
        """Raises RefusedError when it is too much."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent."""

    fields: Mapping[str, list[str]]
    """By name; more than one value only where the name ends in `[]`."""
    has_file: bool


class _State(Enum):
    BETWEEN = "between"
    """Before the first boundary."""
    HEADERS = "headers"
    DATA = "data"
    DONE = "done"
    """What follows the last boundary is nobody's."""


class FormReader:
    """Reads one body; `receive` costs what the chunk is long, whatever it holds."""

    def __init__(
        self, content_type: str, known: frozenset[str], file: FileSink, limits: FormLimits
    ) -> None:
        self._delimiter = b"\r\n--" + _boundary(content_type)
        self._known = known
        self._file = file
        self._has_file = False
        self._limits = limits
        self._state = _State.BETWEEN
        self._pending = bytearray(b"\r\n")  # the first boundary has no line before it
        self._n_parts = 0
        self._fields: dict[str, list[str]] = {}
        self._name: str | None = None
        """Of the open part; None lets it by."""
        self._value = bytearray()

    def receive(self, chunk: bytes) -> None:
        """Take what came. Raises RefusedError."""
        if self._state is _State.DONE:
            return
        self._pending += chunk
        while self._has_advanced():
            pass

    def finish(self) -> Form:
        """The body is at its end. Raises RefusedError when the form is not."""
        if self._state is not _State.DONE:
            raise RefusedError(errors.BAD_REQUEST, "form_cut_short")
        return Form(self._fields, self._has_file)

    def _has_advanced(self) -> bool:
        if self._state is _State.DONE:
            self._pending.clear()
            return False
        return self._read_headers() if self._state is _State.HEADERS else self._read_data()

    def _read_data(self) -> bool:
        """Up to the next boundary, or all that cannot be the beginning of one."""
        end = self._pending.find(self._delimiter)
        after = end + len(self._delimiter)
        if end < 0 or len(self._pending) < after + 2:
            n_certain = end if end >= 0 else len(self._pending) - len(self._delimiter) + 1
            self._keep(max(n_certain, 0))
            return False
        self._keep(end)
        length_bytes = len(self._delimiter)
        tail = bytes(self._pending[length_bytes : length_bytes + 2])
        del self._pending[: length_bytes + 2]
        if self._state is _State.DATA:
            self._close_part()
        if tail == b"--":
            self._state = _State.DONE
        elif tail == b"\r\n":
            self._state = _State.HEADERS
            self._pending[:0] = b"\r\n"  # a part without headers ends them all the same
        else:
            raise RefusedError(errors.BAD_REQUEST, "form_boundary")
        return True

    def _read_headers(self) -> bool:
        end = self._pending.find(_END_OF_HEADERS)
        least_bytes = end if end >= 0 else len(self._pending) - len(_END_OF_HEADERS) + 1
        if least_bytes > self._limits.most_header_bytes:
            raise RefusedError(errors.BAD_REQUEST, "form_headers")
        if end < 0:
            return False
        lines = bytes(self._pending[:end])
        del self._pending[: end + len(_END_OF_HEADERS)]
        self._open_part(_part_name(lines))
        self._state = _State.DATA
        return True

    def _open_part(self, name: str) -> None:
        self._n_parts += 1
        if self._n_parts > self._limits.most_parts:
            raise RefusedError(errors.BAD_REQUEST, "form_parts")
        if name == FILE:
            if self._has_file:
                raise RefusedError(errors.BAD_REQUEST, "form_two_files")
            self._has_file = True
        self._name = name if name == FILE or name in self._known else None
        self._value = bytearray()

    def _keep(self, n_bytes: int) -> None:
        """Move the first of what is pending to where it belongs."""
        with memoryview(self._pending) as pending, pending[:n_bytes] as part:
            if self._state is _State.DATA and self._name == FILE:
                self._file.append(part)
            elif self._state is _State.DATA and self._name is not None:
                if len(self._value) + n_bytes > self._limits.most_field_bytes:
                    raise RefusedError(errors.MESSAGE_TOO_BIG, "form_field_too_big")
                self._value += part
        del self._pending[:n_bytes]

    def _close_part(self) -> None:
        name, self._name = self._name, None
        if name is None or name == FILE:
            return
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise RefusedError(errors.BAD_REQUEST, "form_not_utf8") from None
        values = self._fields.setdefault(name, [])
        if values and not name.endswith("[]"):
            raise RefusedError(errors.BAD_REQUEST, "form_field_twice")
        values.append(value)


def _boundary(content_type: str) -> bytes:
    media_type, _, _ = content_type.partition(";")
    boundary = _parameters(content_type).get("boundary", "")
    is_form = media_type.strip().casefold() == _MEDIA_TYPE
    if not is_form or not 0 < len(boundary) <= _MOST_BOUNDARY_CHARS or not boundary.isascii():
        raise RefusedError(errors.BAD_REQUEST, "form_missing")
    return boundary.encode("ascii")


def _part_name(headers: bytes) -> str:
    """Raises RefusedError when a part has none."""
    for line in headers.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().casefold() == "content-disposition":
            found = _parameters(value).get("name")
            if found is not None:
                return found
    raise RefusedError(errors.BAD_REQUEST, "form_part_without_name")


def _parameters(value: str) -> dict[str, str]:
    """Of a header; the first of each name."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(value):
        found.setdefault(name.casefold(), quoted or plain)
    return found
