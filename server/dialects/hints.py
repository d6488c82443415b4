"""Words that a client of another API expects in, each bounded only by its frame; the context of a
native session out.
"""

from collections.abc import Iterable

MOST_CONTEXT_CHARS = 1900
"""So that the start that carries it fits into a native frame, however it is escaped."""


def context_of(hints: Iterable[str | None]) -> str | None:
    """All of them in a line, and of a long one the end, which is what counts; None for nothing."""
    words = " ".join(" ".join(hint.split()) for hint in hints if hint)
    return "".join(filter(str.isprintable, words))[-MOST_CONTEXT_CHARS:].strip() or None
