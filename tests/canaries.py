"""Folders and captured output of a whole test run in; where a secret or a spoken word lies, out.

What must not lie anywhere: tokens (all that look like one, and each part of those that a test had
minted), private keys (all in PEM, and the bytes of those in data folders), and what is said in the
recordings. Looked for as it is, as UTF-16, in base64 and hex, and in compressed streams, and in
these inside each other; in files over 2 MB, which are models and recordings, only as it is and in
UTF-16, and no keys of packs; not at all in sealed files, which are ciphertext to the last byte. A
secret belongs into a file that is nothing else: a key file, a file of one token. A leak names the
place and the kind and never what it is.
"""

import base64
import binascii
import bz2
import hashlib
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SPOKEN = ("quick brown fox", "over the lazy dog", "six seven eight nine")
_PRINTABLE = re.compile(rb"[\t\n\r -~]{12,}")
_WIDE = re.compile(rb"(?:[\t\n\r -~]\0){12,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}(?:\r?\n[A-Za-z0-9+/_-]+)*")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){24,}")
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|BZh[1-9]1AY&SY|\xfd7zXZ\0")
_TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]*)?")
_TOKEN_PART = re.compile(rb"[\w-]{12,}")
_PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}")
_ED25519 = re.compile(rb"MC4CAQAwBQYDK2VwBCIEI[A-Za-z0-9+/]{20,}")
_HEX_KEY = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_NO_WORD = re.compile(rb"[^a-z0-9]+")
_MOST_OPENED_BYTES = 1 << 24
_MOST_STREAMS = 5000
_LONGEST_READ_BYTES, _NEAR_BYTES = 1 << 21, 2048
_ANCHORS = (b"eyj", b"private key", b"mc4caqawbqydk2vwbciei", b"quick", b"lazy", b"seven")
"""Something of all but keys of packs, which are many, in lower case."""
_SEALED = ".seg"
_PIECE_BYTES = 1 << 12
_LONGEST_KEY_FILE_BYTES = 16_384
_KEY_FILE_BYTES = 65


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that lies where it must not."""

    place: str
    kind: str
    form: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}, {self.form}"


@dataclass
class Canaries:
    """What one test run looks for, and where."""

    folders: list[Path] = field(default_factory=list)
    captured: list[tuple[str, str]] = field(default_factory=list)
    """What was written to standard output, standard error and the log, by test."""
    token_parts: set[bytes] = field(default_factory=set)
    pack_keys: set[bytes] = field(default_factory=set)
    """(64,) hex digits each."""
    report: str = ""
    """What the end of the run says; empty if nothing was found."""

    def watch(self, folder: Path) -> None:
        """Look into all that lies in it, at the end."""
        self.folders.append(folder)

    def hear(self, where: str, text: str) -> None:
        """Look into what a test, or a server in it, has written."""
        self.captured.append((where, text))

    def mark_token(self, token: str) -> str:
        """Look for its payload and its signature, each of which nobody else has."""
        self.token_parts |= {part.encode() for part in token.split(".")[1:] if len(part) >= 12}
        return token

    def leaks(self) -> list[Leak]:
        """All that are found, once in each place."""
        self._find_pack_keys()
        found = [leak for place, data in self._contents() for leak in self.leaks_in(place, data)]
        return list(dict.fromkeys(found))

    def leaks_in(self, place: str, data: bytes) -> Iterator[Leak]:
        """What must not lie there, in every form that it may have."""
        is_key_file = data.startswith(b"-----BEGIN") and len(data) <= _LONGEST_KEY_FILE_BYTES
        is_hex_key_file = len(data) == _KEY_FILE_BYTES and _HEX_KEY.match(data) is not None
        is_token_file = _TOKEN.fullmatch(data.strip()) is not None
        raw_keys = [bytes.fromhex(key.decode()) for key in self.pack_keys]
        if len(data) > _LONGEST_READ_BYTES:
            data = b"\0".join(near_anchors(data))
        for form, text in forms(data, raw_keys):
            for kind in self._kinds_in(text):
                is_at_home = (
                    (kind == "a private key" and is_key_file)
                    or (kind == "the key of a pack" and is_hex_key_file)
                    or (kind == "a token" and is_token_file)
                )
                if not is_at_home:
                    yield Leak(place, kind, form)

    def _kinds_in(self, text: bytes) -> Iterator[str]:
        if _TOKEN.search(text) or not self.token_parts.isdisjoint(_TOKEN_PART.findall(text)):
            yield "a token"
        if _PEM.search(text) or _ED25519.search(text):
            yield "a private key"
        if any(key in self.pack_keys for key in _HEX_KEY.findall(text)):
            yield "the key of a pack"
        words = _NO_WORD.sub(b" ", text.lower())
        if any(phrase.encode() in words for phrase in SPOKEN):
            yield "words of a recording"

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Everything to look into, once; tests copy by the dozen."""
        seen: set[bytes] = set()
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() or path.suffix == _SEALED or not path.is_file():
                    continue
                data = _read(path)
                digest = hashlib.blake2b(data).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield str(path), data
        for where, text in self.captured:
            yield where, text.encode("utf-8", "replace")

    def _find_pack_keys(self) -> None:
        for folder in self.folders:
            for path in folder.rglob("keys/pack.key"):
                key = _read(path).strip()
                if _HEX_KEY.fullmatch(key) and len(set(key)) > 8:  # no test's row of zeros
                    self.pack_keys.add(key)


def near_anchors(data: bytes) -> Iterator[bytes]:
    """The surroundings of what may be a secret, in what is too long to be read."""
    lower = data.lower()
    for anchor in _ANCHORS:
        for spelt in (anchor, anchor.decode().encode("utf-16-le")):
            at = lower.find(spelt)
            while at >= 0:
                yield data[max(at - _NEAR_BYTES, 0) : at + _NEAR_BYTES]
                at = lower.find(spelt, at + _NEAR_BYTES)


def forms(data: bytes, raw_keys: Sequence[bytes], depth: int = 2) -> Iterator[tuple[str, bytes]]:
    """Everything that can be read in it, and how it is written; keys of bytes come out in hex."""
    keys = [key.hex().encode() for key in raw_keys if key in data]
    plain = b"\n".join([*_PRINTABLE.findall(data), *keys])
    wide = b"\n".join(run[::2] for run in _WIDE.findall(data))
    yield "as it is", plain
    if wide:
        yield "in UTF-16", wide
    if depth:
        for inside, encoded in (("in base64", _from_base64), ("in hex", _from_hex)):
            for decoded in encoded(plain + b"\0" + wide):
                yield from _inside(inside, decoded, raw_keys, depth)
        for opened in _opened(data):
            yield from _inside("compressed", opened, raw_keys, depth)


def _inside(
    how: str, data: bytes, raw_keys: Sequence[bytes], depth: int
) -> Iterator[tuple[str, bytes]]:
    for form, text in forms(data, raw_keys, depth - 1):
        if text:
            yield (how if form == "as it is" else f"{form} {how}"), text


def _from_base64(text: bytes) -> Iterator[bytes]:
    runs = [re.sub(rb"\s", b"", run) for run in _BASE64.findall(text)]
    for start in range(4 if runs else 0):  # wherever in the run it begins
        decoded = []
        for run in runs:
            part = run[start:].translate(bytes.maketrans(b"-_", b"+/"))
            whole = part[:-1] if len(part) % 4 == 1 else part
            decoded.append(base64.b64decode(whole + b"=" * (-len(whole) % 4)))
        yield b"\0".join(decoded)


def _from_hex(text: bytes) -> Iterator[bytes]:
    runs = _HEX.findall(text)
    if runs:
        yield b"\0".join(map(binascii.unhexlify, runs))


def _opened(data: bytes) -> Iterator[bytes]:
    """What compressed streams hold, wherever they begin, as far as they can be read."""
    for count, found in enumerate(_COMPRESSED.finditer(data)):
        if count == _MOST_STREAMS:
            return
        stream = {b"B": bz2.BZ2Decompressor, b"\xfd": lzma.LZMADecompressor}.get(found[0][:1])
        decompress = (stream() if stream else zlib.decompressobj(zlib.MAX_WBITS | 32)).decompress
        if opened := _opened_from(data, found.start(), decompress):
            yield opened


def _opened_from(data: bytes, start: int, decompress: Callable[[bytes], bytes]) -> bytes:
    """A piece at a time: most of what looks like a beginning is none, and ends with the first."""
    opened = b""
    try:
        while start < len(data) and len(opened) < _MOST_OPENED_BYTES:
            opened += decompress(data[start : start + _PIECE_BYTES])
            start += _PIECE_BYTES
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        pass
    return opened


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # closed by a test, or gone
        return b""


def told(leaks: Iterable[Leak]) -> str:
    """For the end of the run."""
    return "\n".join(["What must lie nowhere was found:", *(f"  {leak}" for leak in leaks)])
