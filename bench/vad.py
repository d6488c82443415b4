"""Recordings in, who hears speech best out: `python -m bench.vad`.

missed           of windows within 20 dB of a recording's loud ones (its 95th percentile), scored
                 under the segmenter's stop threshold
narrow_missed    the same windows, after a telephone line: 300 to 3400 Hz, 8 kHz, mu-law
telephone_missed of telephone recordings
false            of windows of dishes, room and music, scored at or over its start threshold
telephone_false  the same, after a telephone line
narrow_auc       how well scores tell speech from noise after a telephone line: the area under the
                 curve (ROC), 0.5 is chance
window_ms        the cost of a window that comes alone; bulk_ms: of one among 32

Prints the table of docs/recognition.md and writes build/bench/vad.json. Recordings: see
`bench.recordings`.
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
from server.audio import WINDOW_SAMPLES, AudioFormat, Encoding
from server.decode import Decoder
from server.resample import Resampler
from server.segmenter import SegmenterSettings
from server.vad import SileroDetector, SileroNetwork, SpeechDetector, WebRtcDetector

LOUD_DB = 20
TELEPHONE = AudioFormat(Encoding.MULAW, 8_000)
TELEPHONE_BAND_HZ = (300, 3400)
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


def over_telephone_line(samples: np.ndarray) -> bytes:
    """Mu-law at 8 kHz of what a telephone's band lets through."""
    spectrum = np.fft.rfft(samples)
    at_hz = np.fft.rfftfreq(samples.size, 1 / RATE_HZ)
    spectrum[(at_hz < TELEPHONE_BAND_HZ[0]) | (at_hz > TELEPHONE_BAND_HZ[1])] = 0
    band = np.fft.irfft(spectrum, samples.size)
    narrow = np.clip(soxr.resample(band, RATE_HZ, TELEPHONE.sample_rate_hz), -1, 1)
    line = io.BytesIO()
    soundfile.write(line, narrow, TELEPHONE.sample_rate_hz, subtype="ULAW", format="RAW")
    return line.getvalue()


def over_telephone(samples: np.ndarray) -> np.ndarray:
    """What a telephone line leaves of them, as a session hears it: as long as before."""
    narrow = Decoder(TELEPHONE).decode(over_telephone_line(samples))
    wide = Resampler(TELEPHONE.sample_rate_hz).resample(narrow, is_last=True)
    return wide[: samples.size]


def loud_windows(samples: np.ndarray) -> np.ndarray:
    """(n_windows,) bool: which of them are speech, by loudness alone."""
    level_db = 10 * np.log10(np.square(samples.reshape(-1, WINDOW_SAMPLES)).mean(axis=1) + 1e-10)
    is_loud: np.ndarray = level_db > np.percentile(level_db, 95) - LOUD_DB
    return is_loud


def scores_of(
    new: Callable[[], SpeechDetector],
    tracks: list[np.ndarray],
    loud: list[np.ndarray] | None = None,
) -> np.ndarray:
    """Of all windows, or of those that are loud."""
    scores = [np.array(new().score(samples)) for samples in tracks]
    if loud is not None:
        scores = [each[is_loud] for each, is_loud in zip(scores, loud, strict=True)]
    return np.concatenate(scores)


def missed(scores: np.ndarray) -> float:
    """The share that counts as silence."""
    return float((scores < SegmenterSettings().stop_probability).mean())


def heard(scores: np.ndarray) -> float:
    """The share that counts as speech."""
    return float((scores >= SegmenterSettings().start_probability).mean())


def area_under_curve(speech: np.ndarray, noise: np.ndarray) -> float:
    """How often a window of speech scores more than one of noise; half of it where they tie."""
    noise = np.sort(noise)
    below = np.searchsorted(noise, speech, side="left")
    not_above = np.searchsorted(noise, speech, side="right")
    return float((below + not_above).mean() / 2 / noise.size)


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
    narrow = [over_telephone(samples) for samples in speech]
    telephone = windows_of([r for r in recordings if r.kind == "telephone"])
    noise = windows_of([r for r in recordings if r.kind == "nonspeech"])
    telephone_noise = [over_telephone(samples) for samples in noise]
    loud, telephone_loud = ([loud_windows(t) for t in tracks] for tracks in (speech, telephone))
    rows = {}
    print(
        "| detector | missed | made narrow | telephone | false | telephone | ROC-AUC, narrow |",
        end="",
    )
    print(" a window | of 32 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, new in contenders().items():
        narrow_scores = scores_of(new, narrow, loud)
        noise_scores = scores_of(new, telephone_noise)
        shares = {
            "missed": missed(scores_of(new, speech, loud)),
            "narrow_missed": missed(narrow_scores),
            "telephone_missed": missed(scores_of(new, telephone, telephone_loud)),
            "false": heard(scores_of(new, noise)),
            "telephone_false": heard(noise_scores),
        }
        auc = {"narrow_auc": area_under_curve(narrow_scores, noise_scores)}
        costs = {"window_ms": window_cost_ms(new(), 1), "bulk_ms": window_cost_ms(new(), 32)}
        rows[name] = {key: round(value, 4) for key, value in (shares | auc | costs).items()}
        cells = [f"{share:.1%}" for share in shares.values()]
        cells.append(f"{auc['narrow_auc']:.3f}")
        cells += [f"{cost_ms:.3f} ms" for cost_ms in costs.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    write_figures("vad", rows)


if __name__ == "__main__":
    main()
