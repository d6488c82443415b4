"""Recordings in, who hears speech best out: `python -m bench.vad`.

missed     of windows within 20 dB of a recording's loud ones (its 95th percentile), scored under
           the segmenter's stop threshold
telephone  the same, of telephone speech alone
false      of windows of dishes, room and music, scored at or over its start threshold
window_ms  the cost of a window that comes alone; bulk_ms: of one among 32

Prints the README's table and writes build/bench/vad.json. Recordings: see `bench.recordings`.
"""

import time
from collections.abc import Callable

import numpy as np

from bench.recordings import Recording, open_recordings
from bench.scoring import write_figures
from bench.sound import load_samples
from server.audio import WINDOW_SAMPLES
from server.segmenter import SegmenterSettings
from server.vad import SileroDetector, SileroNetwork, SpeechDetector, WebRtcDetector

LOUD_DB = 20
TURNS = 300


def contenders() -> dict[str, Callable[[], SpeechDetector]]:
    """Each makes a detector that has heard nothing."""
    network = SileroNetwork()
    webrtc = {
        f"WebRTC, aggressiveness {level}, mean of 4 windows": lambda level=level: WebRtcDetector(
            level
        )
        for level in range(4)
    }
    return {"Silero v6": lambda: SileroDetector(network), **webrtc}


def whole_windows(recording: Recording) -> np.ndarray:
    """A file, cut to whole windows."""
    samples = load_samples(recording.path)
    return samples[: samples.size // WINDOW_SAMPLES * WINDOW_SAMPLES]


def share_of_speech_missed(new: Callable[[], SpeechDetector], recordings: list[Recording]) -> float:
    """Of loud windows, those that count as silence."""
    n_loud = n_missed = 0
    for recording in recordings:
        samples = whole_windows(recording)
        level_db = 10 * np.log10(
            np.square(samples.reshape(-1, WINDOW_SAMPLES)).mean(axis=1) + 1e-10
        )
        is_loud = level_db > np.percentile(level_db, 95) - LOUD_DB
        is_silent = np.array(new().score(samples)) < SegmenterSettings().stop_probability
        n_loud += int(is_loud.sum())
        n_missed += int((is_loud & is_silent).sum())
    return n_missed / n_loud


def share_of_noise_heard(new: Callable[[], SpeechDetector], recordings: list[Recording]) -> float:
    """Of windows without speech, those that would open a segment."""
    scores = np.concatenate([new().score(whole_windows(recording)) for recording in recordings])
    return float((scores >= SegmenterSettings().start_probability).mean())


def window_cost_ms(detector: SpeechDetector, n_windows: int) -> float:
    """The best of many calls with so many windows, by window."""
    samples = np.random.default_rng(0).normal(0, 0.1, n_windows * WINDOW_SAMPLES)
    samples = samples.astype(np.float32)
    best_s = float("inf")
    for _ in range(TURNS):
        began_s = time.perf_counter()
        detector.score(samples)
        best_s = min(best_s, time.perf_counter() - began_s)
    return best_s / n_windows * 1000


def main() -> None:
    """Run the bench."""
    recordings = open_recordings()
    speech = [r for r in recordings if r.kind in ("utterance", "long", "spontaneous")]
    telephone = [r for r in recordings if r.kind == "telephone"]
    noise = [r for r in recordings if r.kind == "nonspeech"]
    rows = {}
    print("| detector | missed | telephone | false | a window | of 32 |")
    print("|---|---|---|---|---|---|")
    for name, new in contenders().items():
        row = {
            "missed": share_of_speech_missed(new, speech),
            "telephone": share_of_speech_missed(new, telephone),
            "false": share_of_noise_heard(new, noise),
            "window_ms": window_cost_ms(new(), 1),
            "bulk_ms": window_cost_ms(new(), 32),
        }
        rows[name] = {key: round(value, 4) for key, value in row.items()}
        shares = " | ".join(f"{row[key]:.1%}" for key in ("missed", "telephone", "false"))
        print(f"| {name} | {shares} | {row['window_ms']:.3f} ms | {row['bulk_ms']:.3f} ms |")
    write_figures("vad", rows)


if __name__ == "__main__":
    main()
