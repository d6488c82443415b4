"""Key bytes in, a box that shows them only on request and forgets them on command.

Python copies `bytes` freely and never clears them, so the box takes over a `bytearray`: the one
copy that can be zeroed. What libraries copy out of it, the cipher's key schedule for one, lives
until they free it; that part is out of reach from Python. Refused: printing, pickling, copying,
hashing, and comparing other than in constant time.
"""

import hmac
from types import TracebackType
from typing import Never, Self, SupportsIndex

from typing_extensions import override

_WIPE_STEP_BYTES = 1 << 20


def wipe_buffer(buffer: memoryview) -> None:
    """Zero a writable byte buffer in place, in steps, so that a large one costs no second one."""
    zeros = bytes(min(len(buffer), _WIPE_STEP_BYTES))
    for start in range(0, len(buffer), _WIPE_STEP_BYTES):
        part = buffer[start : start + _WIPE_STEP_BYTES]
        part[:] = zeros[: len(part)]


class SecretBytes:
    """Owns secret bytes until `wipe`, which also ends a `with` block over it."""

    __slots__ = ("_buffer", "_is_wiped")
    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __init__(self, buffer: bytearray) -> None:
        """Takes over `buffer`; the caller keeps no other copy."""
        self._buffer = buffer
        self._is_wiped = False

    def expose(self) -> memoryview:
        """The bytes, read-only, for one call into the crypto library; do not keep it."""
        if self._is_wiped:
            raise ValueError("the secret was wiped")
        return memoryview(self._buffer).toreadonly()

    def wipe(self) -> None:
        """Zero the bytes; may be called again."""
        with memoryview(self._buffer) as view:
            wipe_buffer(view)
        self._is_wiped = True

    def __len__(self) -> int:
        return len(self._buffer)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self.expose(), other.expose())

    @override
    def __repr__(self) -> str:
        return "SecretBytes(…)"

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        raise TypeError("a secret is neither copied nor pickled")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wipe()
