"""What is said in the page's tests: finals with words, in English and in Chinese."""

import itertools

from server import wire

ENGLISH = (
    "Good morning, and thank you for coming at such short notice.",
    "The board asked for a summary of the last quarter, so let me begin with the figures that"
    " surprised us most.",
    "Sales --> up by <b>ten</b> & more!",
)
CHINESE = (
    "各位早上好，感谢大家临时赶来参加这次会议。",  # noqa: RUF001
    "董事会想了解上个季度的情况，我先从最出乎意料的几个数字说起，它们和我们去年的预测相差很远。",  # noqa: RUF001
    "北部 revenue 增长了百分之十一。",
)
WORD_MS = 300
SEGMENT_MS = 12_000


def spoken(
    text: str, segment: int = 0, word_times: str = "measured", confidences=(0.93, 0.98, 0.4)
) -> wire.Final:
    """Words one after another; of Chinese every character is one."""
    words = text.split() if text.isascii() else [char for char in text if char != " "]
    start_ms = segment * SEGMENT_MS
    timed = [
        wire.WordEvent(word, start_ms + at * WORD_MS, start_ms + at * WORD_MS + 250, confidence)
        for at, (word, confidence) in enumerate(
            zip(words, itertools.cycle(confidences), strict=False)
        )
    ]
    end_ms = start_ms + len(words) * WORD_MS
    return wire.Final(segment, start_ms, end_ms, text, "en", 0.9, timed, word_times)
