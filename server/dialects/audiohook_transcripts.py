"""A final in, the parameters of an AudioHook `event` out.

It is timed by its words: a segment begins a while before its speech, and the vendor's tests look at
where somebody spoke. They want no two words to begin at once either, so a word is told no earlier
than a millisecond after the one before it. One final is one event: an event may hold several, but
the vendor's client reads the first. A final without words is none.
"""

from itertools import accumulate
from uuid import UUID, uuid5

from server.dialects.audiohook_messages import (
    Alternative,
    Entity,
    Event,
    Interpretation,
    Transcript,
    Word,
    encode_duration,
)
from server.wire import Final


def event_of(session_id: str, channel: int, final: Final) -> Event | None:
    """`session_id` is a UUID; with channel and segment it names the transcript."""
    words = final.words
    if not words:
        return None
    starts_ms = list(
        accumulate((word.start_ms for word in words), lambda last, start: max(start, last + 1))
    )
    end_ms = max(word.end_ms for word in words)
    tokens = [
        Word(
            word.text,
            word.confidence,
            encode_duration(start_ms),
            encode_duration(max(0, word.end_ms - start_ms)),
        )
        for word, start_ms in zip(words, starts_ms, strict=True)
    ]
    transcript = Transcript(
        id=str(uuid5(UUID(session_id), f"{channel}.{final.segment}")),
        channel_id=channel,
        start=encode_duration(starts_ms[0]),
        lasting=encode_duration(max(0, end_ms - starts_ms[0])),
        alternatives=[Alternative(final.confidence, [Interpretation(final.text, tokens)])],
    )
    return Event([Entity(transcript)])
