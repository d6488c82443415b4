"""An hour in which nobody speaks; not a word is written."""

import pytest

from bench.sound import RATE_HZ, load_samples, nonspeech
from server.session_values import SessionSettings
from server.vad import SileroDetector, SileroNetwork
from server.wire import Final, Partial
from tests.fakes import new_shell

HOUR_S = 3600.0


def words_for(samples, model, network) -> list[str]:
    shell = new_shell(limits=SessionSettings(session_limit_s=5 * HOUR_S))
    shell.detector, shell.recognizer = SileroDetector(network), model
    pcm = (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    shell.audio(pcm, frame_bytes=2 * RATE_HZ).text('{"type":"stop"}')
    shown = [event for event in shell.events if isinstance(event, Final | Partial)]
    return [e.text if isinstance(e, Final) else e.stable + e.unstable for e in shown]


@pytest.mark.shared
def test_an_hour_of_silence_noise_music_and_tones_has_no_words(shared_audio, model):
    clips = [load_samples(r.path) for r in shared_audio if r.kind == "nonspeech"]
    assert len(clips) >= 3
    network = SileroNetwork()
    texts = [
        text
        for seed in range(6)
        for text in words_for(nonspeech(clips, seed, HOUR_S / 6), model, network)
    ]
    assert [text for text in texts if text] == []


def test_ten_minutes_of_silence_noise_and_tones_have_no_words(model):
    texts = words_for(nonspeech([], 100, HOUR_S / 6), model, SileroNetwork())
    assert [text for text in texts if text] == []


def test_a_word_in_the_middle_of_it_would_be_found(model, english_recordings, tmp_path):
    recording = next(r for r in english_recordings if r.name == "quick_brown_fox")
    said = tmp_path / "said.wav"
    said.write_bytes(recording.wav_bytes)
    samples = nonspeech([], 100, 40.0)
    spoken = load_samples(said)
    samples[10 * RATE_HZ : 10 * RATE_HZ + spoken.size] = spoken
    texts = words_for(samples, model, SileroNetwork())
    assert "fox" in texts[-1]
