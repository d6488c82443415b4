"""The body of an upload from a stranger: a form, the same however it is cut, or refused."""

import contextlib

from server.errors import RefusedError
from server.form import FormLimits, FormReader
from server.transcriptions import KNOWN_FIELDS

MAX_BYTES = 20_000
_LIMITS = FormLimits(most_parts=8, most_field_bytes=500)
_TYPE = "multipart/form-data; boundary=x"
_DISPOSITION = b"Content-Disposition: form-data; name="
SEEDS = [
    b"--x\r\n" + _DISPOSITION + b'"file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n',
    b"--x\r\n" + _DISPOSITION + b"model\r\nContent-Type: text/plain\r\n\r\nm\r\n--x--",
    b"--x\r\n"
    + _DISPOSITION
    + b'"timestamp_granularities[]"\r\n\r\nword\r\n--x\r\n'
    + _DISPOSITION
    + b'"timestamp_granularities[]"\r\n\r\nsegment\r\n--x--\r\n',
    b"preamble\r\n--x\r\n" + _DISPOSITION + b'"a\\"b"\r\n\r\n\r\n--x \r\n',
    b"--x\r\n\r\n\r\n--x--",
    b"\r\n--" * 100,
]


class _Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    def append(self, part: memoryview, /) -> None:
        self.data += part


def fuzz_rest_multipart(data: bytes) -> None:
    whole = _outcome(data, len(data) or 1)
    assert _outcome(data, 7) == whole, "where the body is cut changes what is in it"
    with contextlib.suppress(RefusedError):
        FormReader(data.decode("latin-1"), KNOWN_FIELDS, _Sink(), _LIMITS)


def _outcome(data: bytes, step: int) -> object:
    file = _Sink()
    reader = FormReader(_TYPE, KNOWN_FIELDS, file, _LIMITS)
    try:
        for start in range(0, len(data), step):
            reader.receive(data[start : start + step])
        form = reader.finish()
    except RefusedError:
        return None
    return form.fields, form.has_file, bytes(file.data)
