"""Telephone numbers in, names that stand for them in the trail out: the same for the same number,
and no way back without the key.

There are so few numbers that a plain hash of one is found by trying them all; these are MACs under
a key of this server, which lies with its other keys and is made where it is missing. Who destroys
the key has made every name in the trail meaningless, and nothing else. A number is its digits and
a leading plus, however it is spelt or wrapped into a SIP address; what has none, such as
`sip:reception@clinic.example`, is taken as it is, in lower case.
"""

import hmac
import re
from pathlib import Path

from security.errors import KeyFileError
from security.keys import create_key_file, open_key_file
from security.secret import SecretBytes

NAME_DIGITS = 16
_MOST_CHARS = 256
"""Of an address that is looked at; what is longer is told by its beginning."""
_NUMBER_DOMAIN = b"earwitness pseudonym of a number, v1\0"
_ADDRESS_DOMAIN = b"earwitness pseudonym of an address, v1\0"
_SCHEME = re.compile(r"\A(?:sips?|tel):", re.IGNORECASE)
_ANGLES = re.compile(r"<([^<>]*)>\s*(?:;.*)?\Z")
"""As in `"Ann" <sip:+4930@host>;tag=1`."""
_NUMBER = re.compile(r"\A\+?[0-9 ()./-]*[0-9][0-9 ()./-]*\Z")
_NO_DIGIT = re.compile(r"[^0-9]")


class Pseudonyms:
    """Of one server."""

    def __init__(self, key: SecretBytes) -> None:
        self._key = key

    def of(self, told: str | None) -> str | None:
        """For a number or address as a telephone system tells it; None for none."""
        address = (told or "")[:_MOST_CHARS].strip()
        if not address:
            return None
        number = _number_of(address)
        text = address.lower() if number is None else number
        domain = _ADDRESS_DOMAIN if number is None else _NUMBER_DOMAIN
        message = domain + text.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key.expose(), message, "sha256").hex()[:NAME_DIGITS]


def open_pseudonyms(path: Path) -> Pseudonyms:
    """By the key in `path`, which is made where there is none. Raises KeyFileError."""
    if not path.exists():
        try:
            create_key_file(path)
        except KeyFileError:
            if not path.exists():  # unless another made it meanwhile
                raise
    return Pseudonyms(open_key_file(path))


def _number_of(address: str) -> str | None:
    """What is dialled, of `tel:+49-30-1` or `sip:004930@host;user=phone`; None: it is a name."""
    wrapped = _ANGLES.search(address)
    uri = address if wrapped is None else wrapped[1]
    user = _SCHEME.sub("", uri).partition("@")[0].partition(";")[0].strip()
    if not _NUMBER.match(user):
        return None
    return ("+" if user.startswith("+") else "") + _NO_DIGIT.sub("", user)
