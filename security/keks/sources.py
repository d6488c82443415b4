"""Where a secret lies, in; its bytes, in a box that can be wiped, out.

A file is held to the rules of key files. A descriptor, three or higher, is read to its end and
closed: nobody reads it twice. A variable is the weakest place of the three, since the kernel shows
it to everything of this account for as long as the process lives; it is there because some
platforms offer nothing else. Variable names are upper case, so that a key given where its name
belongs is refused and not repeated. Refused: more than a key file may hold.
"""

import os
import re
from pathlib import Path
from typing import Final

from security.errors import KekError
from security.keys import KEY_BYTES, decode_hex, read_checked
from security.secret import SecretBytes

MAX_SECRET_BYTES: Final = 4095
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,127}", re.ASCII)
_DESCRIPTOR = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_FIRST_FREE_DESCRIPTOR: Final = 3


def read_file(path: str) -> SecretBytes:
    """The content of a file that only this account can read. Raises KeyFileError."""
    if not path or "\0" in path:
        raise KekError("file: needs the path of a file")
    return SecretBytes(read_checked(Path(path), is_secret=True))


def read_variable(name: str) -> SecretBytes:
    """The value of an environment variable."""
    if not _NAME.fullmatch(name):
        raise KekError("the name of a variable is upper-case letters, digits and underscores")
    value = os.environb.get(name.encode())
    if not value:
        raise KekError(f"the environment variable {name} is not set: set it, or use a file")
    if len(value) > MAX_SECRET_BYTES:
        raise KekError(f"the environment variable {name} is too long for a secret")
    return SecretBytes(bytearray(value))


def read_descriptor(number: str) -> SecretBytes:
    """All that comes out of an inherited descriptor, which is then closed."""
    if not _DESCRIPTOR.fullmatch(number) or int(number) < _FIRST_FREE_DESCRIPTOR:
        raise KekError("a descriptor is a number from 3 up: 0 to 2 are the standard streams")
    descriptor = int(number)
    buffer = bytearray(MAX_SECRET_BYTES + 1)
    try:
        read_bytes = _fill(descriptor, buffer)
        os.close(descriptor)
    except OSError as error:
        raise KekError(f"descriptor {number} cannot be read: {error.strerror}") from None
    with SecretBytes(buffer) as whole:
        if not 0 < read_bytes <= MAX_SECRET_BYTES:
            raise KekError(f"descriptor {number} holds nothing, or too much for a secret")
        return SecretBytes(bytearray(whole.expose()[:read_bytes]))


def decode_key(text: SecretBytes, place: str) -> SecretBytes:
    """The key spelt in `text` as in a key file; the newline may be missing. Wipes `text`."""
    with text:
        digits = without_newline(text.expose())
        key = decode_hex(digits) if len(digits) == 2 * KEY_BYTES else None
    if key is None:
        raise KekError(f"{place} does not hold a key: {2 * KEY_BYTES} hex digits are expected")
    return SecretBytes(key)


def without_newline(text: memoryview) -> memoryview:
    """Without the one newline that editors and `echo` leave at the end."""
    return text[:-1] if len(text) and text[-1] == ord("\n") else text


def _fill(descriptor: int, buffer: bytearray) -> int:
    """Reads until the end or until the buffer is full; says how far."""
    filled_bytes = 0
    with memoryview(buffer) as view:
        while filled_bytes < len(view):
            with view[filled_bytes:] as rest:
                read_bytes = os.readv(descriptor, [rest])
            if not read_bytes:
                break
            filled_bytes += read_bytes
    return filled_bytes
