"""Recordings in, who hears speech best out: `python -m bench.vad`.

missed           of windows within 20 dB of a recording's loud ones (its 95th percentile), scored
                 under the segmenter's stop threshold
telephone_missed the same, of telephone speech alone
false            of windows of dishes, room and music, scored at or over its start threshold
telephone_false  the same, after a telephone line: 8 kHz, mu-law
window_ms        the cost of a window that comes alone; bulk_ms: of one among 32

Prints the README's table and writes build/bench/vad.json. Recordings: see `bench.recordings`.
"""

import io
import time
from collections.abc import Callable

import numpy as np
import soundfile
import soxr

from bench.recordings import Recording, open_recordings
from bench.scoring import write_figures
from bench.sound import RATE_HZ, load_samples
from server.audio import WINDOW_SAMPLES
from server.segmenter import SegmenterSettings
from server.vad import SileroDetector, SileroNetwork, SpeechDetector, WebRtcDetector

LOUD_DB = 20
TELEPHONE_HZ = 8_000
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


def windows_of(recordings: list[Recording]) -> list[np.ndarray]:
    """The files, each cut to whole windows."""
    return [_whole_windows(load_samples(recording.path)) for recording in recordings]


def over_telephone(samples: np.ndarray) -> np.ndarray:
    """What a telephone line leaves of them."""
    line = io.BytesIO()
    narrow = np.clip(soxr.resample(samples, RATE_HZ, TELEPHONE_HZ), -1, 1)
    soundfile.write(line, narrow, TELEPHONE_HZ, subtype="ULAW", format="WAV")
    line.seek(0)
    heard, _ = soundfile.read(line, dtype="float32")
    return _whole_windows(soxr.resample(heard, TELEPHONE_HZ, RATE_HZ))


def share_of_speech_missed(new: Callable[[], SpeechDetector], tracks: list[np.ndarray]) -> float:
    """Of loud windows, those that count as silence."""
    n_loud = n_missed = 0
    for samples in tracks:
        level_db = 10 * np.log10(
            np.square(samples.reshape(-1, WINDOW_SAMPLES)).mean(axis=1) + 1e-10
        )
        is_loud = level_db > np.percentile(level_db, 95) - LOUD_DB
        is_silent = np.array(new().score(samples)) < SegmenterSettings().stop_probability
        n_loud += int(is_loud.sum())
        n_missed += int((is_loud & is_silent).sum())
    return n_missed / n_loud


def share_of_noise_heard(new: Callable[[], SpeechDetector], tracks: list[np.ndarray]) -> float:
    """Of windows without speech, those that count as it."""
    scores = np.concatenate([new().score(samples) for samples in tracks])
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


def _whole_windows(samples: np.ndarray) -> np.ndarray:
    return samples[: samples.size // WINDOW_SAMPLES * WINDOW_SAMPLES]


def main() -> None:
    """Run the bench."""
    recordings = open_recordings()
    speech = windows_of([r for r in recordings if r.kind in ("utterance", "long", "spontaneous")])
    telephone = windows_of([r for r in recordings if r.kind == "telephone"])
    noise = windows_of([r for r in recordings if r.kind == "nonspeech"])
    telephone_noise = [over_telephone(samples) for samples in noise]
    rows = {}
    print("| detector | missed | telephone | false | telephone | a window | of 32 |")
    print("|---|---|---|---|---|---|---|")
    for name, new in contenders().items():
        shares = {
            "missed": share_of_speech_missed(new, speech),
            "telephone_missed": share_of_speech_missed(new, telephone),
            "false": share_of_noise_heard(new, noise),
            "telephone_false": share_of_noise_heard(new, telephone_noise),
        }
        costs = {"window_ms": window_cost_ms(new(), 1), "bulk_ms": window_cost_ms(new(), 32)}
        rows[name] = {key: round(value, 4) for key, value in (shares | costs).items()}
        cells = [f"{share:.1%}" for share in shares.values()]
        cells += [f"{cost_ms:.3f} ms" for cost_ms in costs.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    write_figures("vad", rows)


if __name__ == "__main__":
    main()
