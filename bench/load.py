"""Many streams at once in, how soon and how right each word was out.

Every stream is a row of recordings with a gap of digital silence after each, in an order of its
own, sent in blocks of 20 ms, each only once its last sample would have been spoken. A `Speaker`
talks to one server, ours or another's, and keeps what it shows: a `Sight` for every change, with
the text that is settled and the text that is shown. From these alone, and from where speech ends
in the recordings (`bench.sound`), come the figures, so that they mean the same for every server:

text_final  from the last loud sample of an utterance being sent to when what is shown, up to the
            utterance's last word, has changed for the last time
final       the same for what is settled
first       from the first loud sample of an utterance to the first shown word of it
revised     of the words shown, the share that changed or went before they were settled
lost        utterances of whose words nothing was settled
rss_growth  of the server's memory, from half-way to the end
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import jiwer
import numpy as np

from bench.recordings import Recording
from bench.scoring import Score, normalise, score
from bench.sound import RATE_HZ, load_samples, speech_bounds_s

BLOCK_S = 0.02
BLOCK_BYTES = int(RATE_HZ * BLOCK_S) * 2
TAIL_S = 4.0
"""Silence after the last utterance, for servers that need it to come to an end."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a client saw, and when."""

    at_s: float
    settled: str
    """Text that will not change, by the server's own word."""
    shown: str
    """All text, the settled included."""


class Speaker(Protocol):
    """One connection to one server."""

    sights: list[Sight]

    async def open(self) -> None:
        """Ready for audio afterwards."""
        ...

    async def send(self, pcm: bytes) -> None:
        """16 kHz PCM16."""
        ...

    async def finish(self) -> None:
        """No more audio; back when the last text has come."""
        ...


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording, and where its speech lies in the stream."""

    text: str
    first_s: float
    last_s: float


@dataclass(slots=True)
class Play:
    """One stream, to be sent and then sent."""

    utterances: list[Utterance]
    pcm: bytes
    began_s: float = 0.0
    sights: list[Sight] = field(default_factory=list)

    @property
    def audio_s(self) -> float:
        """How long it lasts."""
        return len(self.pcm) / 2 / RATE_HZ


class Corpus:
    """Recordings in memory, read once."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._sounds = [(r.text, load_samples(r.path)) for r in recordings]

    def play(self, seed: int, length_s: float, gap_s: float) -> Play:
        """A stream of at least `length_s`."""
        order = list(self._sounds)
        random.Random(seed).shuffle(order)  # noqa: S311 - an order, not a secret
        pieces, utterances, n_samples = [], [], 0
        while n_samples < length_s * RATE_HZ:
            text, samples = order[len(utterances) % len(order)]
            first_s, last_s = speech_bounds_s(samples)
            at_s = n_samples / RATE_HZ
            utterances.append(Utterance(text, at_s + first_s, at_s + last_s))
            pieces += [samples, np.zeros(int(gap_s * RATE_HZ), np.float32)]
            n_samples = sum(piece.size for piece in pieces)
        pieces.append(np.zeros(int(TAIL_S * RATE_HZ), np.float32))
        return Play(utterances, pcm_of(np.concatenate(pieces)))


def pcm_of(samples: np.ndarray) -> bytes:
    """PCM16 as it goes on the wire."""
    pcm: bytes = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    return pcm


async def stream(play: Play, speaker: Speaker, delay_s: float) -> None:
    """Send one stream in real time."""
    await speaker.open()
    play.began_s = time.monotonic() + delay_s
    for index, start in enumerate(range(0, len(play.pcm), BLOCK_BYTES)):
        wait_s = play.began_s + (index + 1) * BLOCK_S - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await speaker.send(play.pcm[start : start + BLOCK_BYTES])
    await speaker.finish()
    play.sights = speaker.sights


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all streams of a run."""

    streams: int
    text_final_ms: list[float]
    final_ms: list[float]
    first_ms: list[float]
    revised_share: float
    wer: float
    lost: int
    cpu_s_per_audio_s: float
    peak_rss_mib: float
    rss_growth_mib: float
    client_cores: float

    def row(self) -> dict[str, float]:
        """For a table."""
        return {
            "streams": self.streams,
            "first_ms_p50": percentile(self.first_ms, 50),
            "first_ms_p95": percentile(self.first_ms, 95),
            "text_final_ms_p50": percentile(self.text_final_ms, 50),
            "text_final_ms_p95": percentile(self.text_final_ms, 95),
            "final_ms_p50": percentile(self.final_ms, 50),
            "final_ms_p95": percentile(self.final_ms, 95),
            "final_ms_p99": percentile(self.final_ms, 99),
            "revised_share": round(self.revised_share, 4),
            "wer": round(self.wer, 4),
            "lost": self.lost,
            "cpu_s_per_audio_s": round(self.cpu_s_per_audio_s, 4),
            "peak_rss_mib": round(self.peak_rss_mib),
            "rss_growth_mib": round(self.rss_growth_mib),
            "client_cores": round(self.client_cores, 2),
        }


async def play_all(
    plays: list[Play], new_speaker: Callable[[], Speaker], server_pid: int
) -> Figures:
    """Play all at the same time, their beginnings spread over a second."""
    cpu_s, own_s, began_s = cpu_seconds(server_pid), time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for index, play in enumerate(plays):
            tasks.create_task(stream(play, new_speaker(), index / len(plays)))
        await asyncio.sleep(min(play.audio_s for play in plays) / 2)
        half_way_mib = rss_mib(server_pid, "VmRSS")
        await asyncio.sleep(min(play.audio_s for play in plays) / 2)
        end_mib = rss_mib(server_pid, "VmRSS")
    audio_s = sum(play.audio_s for play in plays)
    text_final_ms, final_ms, first_ms, lost = [], [], [], 0
    words = Score.nothing()
    for play in plays:
        settled = play.sights[-1].settled if play.sights else ""
        words += score(" ".join(u.text for u in play.utterances), settled)
        for times in timed(play):
            lost += times is None
            if times is not None:
                first_ms.append(times[0])
                text_final_ms.append(times[1])
                final_ms.append(times[2])
    return Figures(
        streams=len(plays),
        text_final_ms=text_final_ms,
        final_ms=final_ms,
        first_ms=first_ms,
        revised_share=revised_share([play.sights for play in plays]),
        wer=words.wer,
        lost=lost,
        cpu_s_per_audio_s=(cpu_seconds(server_pid) - cpu_s) / audio_s,
        peak_rss_mib=rss_mib(server_pid, "VmHWM"),
        rss_growth_mib=end_mib - half_way_mib,
        client_cores=(time.process_time() - own_s) / (time.monotonic() - began_s),
    )


def timed(play: Play) -> list[tuple[float, float, float] | None]:
    """First, text_final and final of each utterance in ms; None where nothing was settled."""
    sights = [
        (s.at_s - play.began_s, normalise(s.settled).split(), normalise(s.shown).split())
        for s in play.sights
    ]
    final_words = sights[-1][1] if sights else []
    times: list[tuple[float, float, float] | None] = []
    for utterance, span in zip(play.utterances, spans_of(play, final_words), strict=True):
        if span is None:
            times.append(None)
            continue
        first, end = span
        settled_s = next(at_s for at_s, settled, _ in sights if settled[:end] == final_words[:end])
        first_s = next(at_s for at_s, _, shown in sights if len(shown) > first)
        still_s = settled_s
        for at_s, _, shown in reversed(sights):
            if shown[:end] != final_words[:end]:
                break
            still_s = at_s
        times.append(
            (
                (first_s - utterance.first_s) * 1000,
                (min(still_s, settled_s) - utterance.last_s) * 1000,
                (settled_s - utterance.last_s) * 1000,
            )
        )
    return times


def spans_of(play: Play, final_words: list[str]) -> list[tuple[int, int] | None]:
    """Where each utterance's words lie among the settled ones."""
    references = [normalise(u.text).split() for u in play.utterances]
    ends = np.cumsum([len(words) for words in references])
    if not final_words:
        return [None] * len(references)
    said = " ".join(word for words in references for word in words)
    [chunks] = jiwer.process_words(said, " ".join(final_words)).alignments
    owner = np.full(len(final_words), -1)
    for chunk in chunks:
        for offset in range(chunk.hyp_end_idx - chunk.hyp_start_idx):
            at = min(chunk.ref_start_idx + offset, int(ends[-1]) - 1)
            owner[chunk.hyp_start_idx + offset] = int(np.searchsorted(ends, at, side="right"))
    spans: list[tuple[int, int] | None] = []
    for index in range(len(references)):
        mine = np.flatnonzero(owner == index)
        spans.append((int(mine[0]), int(mine[-1]) + 1) if mine.size else None)
    return spans


def revised_share(all_sights: list[list[Sight]]) -> float:
    """Of the words that were shown, those that another took the place of."""
    shown = changed = 0
    for sights in all_sights:
        texts = [normalise(sight.shown).split() for sight in sights]
        for before, now in pairwise(texts):
            kept = next(
                (i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b),
                min(len(before), len(now)),
            )
            changed += len(before) - kept
            shown += len(now) - kept
    return changed / shown if shown else 0.0


def percentile(values: list[float], q: float) -> float:
    """Rounded; NaN of nothing."""
    return round(float(np.percentile(values, q))) if values else float("nan")


def cpu_seconds(pid: int) -> float:
    """Of a process and the children it has waited for or still has."""
    total = 0.0
    for each in (pid, *children(pid)):
        if stat := _read(Path(f"/proc/{each}/stat")):
            fields = stat.rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def rss_mib(pid: int, name: str) -> float:
    """Memory of a process and its children: `VmRSS` now, `VmHWM` the most there was."""
    return sum(_status_kib(each, name) for each in (pid, *children(pid))) / 1024


def children(pid: int) -> list[int]:
    """Of a process, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in _read(task / "children").split():
            found += [int(child), *children(int(child))]
    return found


def _status_kib(pid: int, name: str) -> int:
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    """Of /proc; nothing if the process or thread has ended since it was listed."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
