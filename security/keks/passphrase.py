"""A passphrase that somebody remembers, in; pack keys wrapped under what Argon2id makes of it, out.

This is the slot for the emergency. The costs of the hash lie in the slot, so that later slots may
cost more and old ones still open; they are bound to it, and bounded before anything is hashed,
since whoever can write the slot could else ask for a terabyte. The passphrase is normalised to NFC
(RFC 8265, OpaqueString): an accent typed on another keyboard years later must still fit. Nothing
else about it is changed, but for one newline at its end. Refused: fewer than 12 characters for a
new slot, and bytes that are no UTF-8. At a terminal the passphrase passes through text that Python
cannot wipe, and so does any that is not plain ASCII.
"""

import getpass
import os
import struct
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from typing_extensions import override

from security.errors import KekError
from security.keks.box import BOX_BYTES, open_box, seal_box
from security.keks.sources import read_descriptor, read_file, read_variable, without_newline
from security.keys import KEY_BYTES
from security.secret import SecretBytes

MIN_CHARACTERS: Final = 12
_VERSION = 1
_SALT_BYTES = 16
_HEAD = struct.Struct(f">BIIB{_SALT_BYTES}s")

AskPassphrase = Callable[[bool], SecretBytes]
"""Gives the passphrase, which the asker then owns. True asks for a new one, to wrap under."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs."""

    memory_kib: int = 256 * 1024
    passes: int = 3
    lanes: int = 1

    @property
    def is_bearable(self) -> bool:
        """Whether Argon2id can hash so (RFC 9106, 3.1), and this machine should."""
        return (
            1 <= self.lanes <= 8
            and 1 <= self.passes <= 16
            and 8 * self.lanes <= self.memory_kib <= 1024 * 1024
        )


class PassphraseKek:
    """Wraps under a passphrase, which it asks for each time and keeps no longer than the hash."""

    __slots__ = ("_ask", "_cost", "_held")

    def __init__(
        self, ask: AskPassphrase, cost: Cost | None = None, held: SecretBytes | None = None
    ) -> None:
        """`cost` is that of new slots; `held` is what `ask` gives copies of, wiped at the end."""
        cost = cost or Cost()
        if not cost.is_bearable:
            raise KekError("a passphrase hash takes 1 GiB, 16 passes and 8 lanes at most")
        self._ask = ask
        self._cost = cost
        self._held = held

    @property
    def kek_id(self) -> str:
        """The same for all passphrases: anything more would help to guess."""
        return "passphrase"

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key under a new passphrase."""
        cost = self._cost
        salt = os.urandom(_SALT_BYTES)
        head = _HEAD.pack(_VERSION, cost.memory_kib, cost.passes, cost.lanes, salt)
        with _normalised(self._ask(True)) as passphrase:
            if _characters(passphrase.expose()) < MIN_CHARACTERS:
                raise KekError(f"a passphrase has at least {MIN_CHARACTERS} characters")
            with _hashed(passphrase, cost, salt) as key:
                return head + seal_box(key.expose(), pack_key, head + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if this passphrase did not wrap it so."""
        if len(wrapped) != _HEAD.size + BOX_BYTES:
            return None
        head, box = wrapped[: _HEAD.size], wrapped[_HEAD.size :]
        version, memory_kib, passes, lanes, salt = _HEAD.unpack(head)
        cost = Cost(memory_kib, passes, lanes)
        if version != _VERSION or not cost.is_bearable:
            return None
        with (
            _normalised(self._ask(False)) as passphrase,
            _hashed(passphrase, cost, salt) as key,
        ):
            return open_box(key.expose(), box, head + context)

    def wipe(self) -> None:
        """Forget a passphrase that was read before it was asked for."""
        if self._held is not None:
            self._held.wipe()

    @override
    def __repr__(self) -> str:
        return "PassphraseKek(…)"


def open_passphrase_kek(place: str) -> PassphraseKek:
    """`passphrase:`, asked for at the terminal, or `passphrase:file=PATH`, `env=NAME`, `fd=N`.

    What is not typed is read at once, so that a missing file shows at the start and a descriptor
    is read once. Raises KeyFileError for a file.
    """
    if not place:
        return PassphraseKek(ask_at_terminal)
    kind, separator, name = place.partition("=")
    readers = {"file": read_file, "env": read_variable, "fd": read_descriptor}
    if not separator or kind not in readers:
        raise KekError("a passphrase is passphrase: or passphrase:file=PATH, :env=NAME, :fd=N")
    secret = readers[kind](name)
    return PassphraseKek(lambda is_new: SecretBytes(bytearray(secret.expose())), held=secret)


def ask_at_terminal(is_new: bool, prompt: Callable[[str], str] = getpass.getpass) -> SecretBytes:
    """Ask, without an echo; a new passphrase twice. Raises KekError if there is no terminal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            typed = prompt("New passphrase: " if is_new else "Passphrase: ")
            if is_new and typed != prompt("The same again: "):
                raise KekError("the two passphrases differ: nothing was wrapped")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise KekError(
            "there is no terminal to ask for the passphrase: use passphrase:file=PATH"
        ) from None
    return SecretBytes(bytearray(typed, "utf-8", "surrogateescape"))


def _normalised(typed: SecretBytes) -> SecretBytes:
    """In NFC and without a newline at the end. Wipes `typed`."""
    with typed:
        view = without_newline(typed.expose())
        plain = bytearray(view)
        if not plain.isascii():
            try:
                text = str(view, "utf-8")
            except UnicodeDecodeError:
                raise KekError("a passphrase must be UTF-8 text") from None
            plain = bytearray(unicodedata.normalize("NFC", text), "utf-8")
    return SecretBytes(plain)


def _characters(text: memoryview) -> int:
    """How many code points: the bytes that do not continue one."""
    return sum(byte & 0xC0 != 0x80 for byte in text)


def _hashed(passphrase: SecretBytes, cost: Cost, salt: bytes) -> SecretBytes:
    """The key that this passphrase stands for."""
    key = bytearray(KEY_BYTES)
    argon2 = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    try:
        argon2.derive_into(passphrase.expose(), key)  # type: ignore[arg-type]  # takes any buffer
    except MemoryError:
        raise KekError(f"hashing the passphrase needs {cost.memory_kib} KiB of memory") from None
    return SecretBytes(key)
