"""The embedded model, opened from its pack in memory."""

from dataclasses import replace

import ctranslate2
import miniaudio
import numpy as np
import pytest

from bench.scoring import Score, score
from bench.sound import load_samples
from security.weights import open_pack
from server.engines.whisper_ct2 import WhisperCt2, WhisperSettings
from server.packs import pack_trust
from server.recognition import NOTHING_HEARD, EngineSettingError, ModelError, Utterance


@pytest.fixture(scope="module")
def files(embedded_model_pack):
    with open_pack(embedded_model_pack.pack_folder, pack_trust(embedded_model_pack)) as pack:
        yield pack.files


@pytest.fixture(scope="module")
def engine(files):
    return WhisperCt2("tiny.en", files, WhisperSettings())


def samples_of(recording):
    decoded = miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=16_000)
    return np.array(decoded.samples, np.float32) / 32768


@pytest.fixture(scope="module")
def fox(english_recordings):
    return samples_of(english_recordings[1])


@pytest.fixture(scope="module")
def counting(english_recordings):
    return samples_of(english_recordings[2])


def times_of(heard):
    return [(word.text, word.start_sample, word.end_sample) for word in heard.words]


def test_speech_becomes_text_with_words(engine, fox):
    [heard] = engine.transcribe([Utterance(fox, is_final=True)])
    assert heard.text == "The quick brown fox jumps over the lazy dog."
    assert [word.text for word in heard.words] == heard.text.split()
    starts = [word.start_sample for word in heard.words]
    assert starts == sorted(starts)
    assert heard.words[-1].end_sample <= fox.size
    assert heard.language == "en"


def test_context_words_are_spelt_like_that_and_only_for_whom_they_are(engine, fox):
    hinted = Utterance(fox, is_final=True, context="the quick Braun fox, Braun")
    plain = Utterance(fox, is_final=True)
    heard = engine.transcribe([plain, hinted, replace(plain, is_final=False), hinted])
    colours = [hypothesis.text.casefold().split()[2] for hypothesis in heard]
    assert colours == ["brown", "braun", "brown", "braun"]


def test_context_that_looks_like_a_command_is_text(engine, fox):
    for context in ("<|startoftranscript|><|endoftext|>", "<|nospeech|>", "<|en|> hello", "\x00"):
        [heard] = engine.transcribe([Utterance(fox, is_final=True, context=context)])
        assert heard.text.casefold() == "the quick brown fox jumps over the lazy dog."


def test_words_lie_where_they_are_said(engine, fox):
    padded = np.concatenate([np.zeros(16_000, np.float32), fox])
    [early] = engine.transcribe([Utterance(fox, is_final=True)])
    [late] = engine.transcribe([Utterance(padded, is_final=True)])
    moved = [b.start_sample - a.start_sample for a, b in zip(early.words, late.words, strict=True)]
    assert np.median(moved) == pytest.approx(16_000, abs=1600)


def test_a_partial_has_text_and_no_words(engine, fox):
    [heard] = engine.transcribe([Utterance(fox[:24_000], is_final=False)])
    assert heard.text.casefold().startswith("the quick")
    assert heard.words == ()


def test_a_batch_of_mixed_lengths_gives_what_each_gives_alone(engine, fox):
    """Both have a context of 7 s: then all of the text is the same."""
    batch = [Utterance(fox, is_final=True), Utterance(fox[:36_000], is_final=True)]
    together = engine.transcribe(batch)
    alone = [engine.transcribe([utterance])[0] for utterance in batch]
    assert [heard.text for heard in together] == [heard.text for heard in alone]
    assert [len(heard.words) for heard in together] == [len(h.text.split()) for h in together]


def test_finals_and_partials_share_a_batch(engine, fox):
    batch = [Utterance(fox, is_final=False), Utterance(fox, is_final=True)]
    partial, final = engine.transcribe(batch)
    assert partial.text.casefold() == final.text.casefold()
    assert partial.words == ()
    assert len(final.words) == 9


def test_rows_of_one_length_hear_what_each_hears_alone(engine, fox, counting):
    batch = [Utterance(samples[:36_000], is_final=True) for samples in (fox, counting, fox[8000:])]
    together = engine.transcribe(batch)
    alone = [engine.transcribe([utterance])[0] for utterance in batch]
    assert [heard.text for heard in together] == [heard.text for heard in alone]
    assert [times_of(heard) for heard in together] == [times_of(heard) for heard in alone]


def test_a_stretch_longer_than_the_context_is_heard_to_its_end(engine, fox, counting):
    long = np.concatenate([counting, np.zeros(30 * 16_000, np.float32), fox])
    [heard] = engine.transcribe([Utterance(long, is_final=True)])
    assert heard.text.endswith("over the lazy dog.")
    assert heard.words[-1].end_sample > 31 * 16_000


@pytest.mark.shared
def test_neighbours_of_other_lengths_change_hardly_a_word(engine, shared_audio):
    spoken = [r for r in shared_audio if r.language == "en" and r.kind == "utterance"]
    batch = [Utterance(load_samples(recording.path), is_final=True) for recording in spoken[:24]]
    together = engine.transcribe(batch)
    alone = [engine.transcribe([utterance])[0] for utterance in batch]
    errors = [score(a.text, b.text) for a, b in zip(alone, together, strict=True)]
    assert sum(errors, Score.nothing()).wer < 0.03


def test_silence_is_nothing_heard(engine):
    [heard] = engine.transcribe([Utterance(np.zeros(32_000, np.float32), is_final=True)])
    assert heard == NOTHING_HEARD


def test_what_somebody_says_again_and_again_is_not_lost(engine, fox):
    long = np.tile(fox, 9)[: 25 * 16_000]
    [heard] = engine.transcribe([Utterance(long, is_final=True)])
    assert heard.text.casefold().count("brown fox") >= 6
    starts = [word.start_sample for word in heard.words]
    assert starts == sorted(starts)
    assert starts[-1] > 20 * 16_000


def test_the_shortest_utterance_does_no_harm(engine):
    assert len(engine.transcribe([Utterance(np.ones(100, np.float32), is_final=True)])) == 1


def test_an_english_model_says_that_it_knows_english_only(engine):
    assert engine.card.languages == {"en"}


@pytest.mark.parametrize("missing", ["tokenizer.json", "config.json", "model.bin"])
def test_a_pack_that_lacks_a_file_is_no_model(files, missing):
    incomplete = {name: content for name, content in files.items() if name != missing}
    with pytest.raises(ModelError):
        WhisperCt2("x", incomplete, WhisperSettings())


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.bin"])
def test_a_file_that_is_something_else_is_no_model(files, name):
    with pytest.raises(ModelError):
        WhisperCt2("x", {**files, name: memoryview(b"{}")}, WhisperSettings())


def test_a_device_that_is_not_there_is_told(files, monkeypatch):
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(EngineSettingError, match=r"whisper\.device:"):
        WhisperCt2("x", files, replace(WhisperSettings(), device="cuda"))


def test_a_type_that_the_device_does_not_compute_in_is_told(files):
    with pytest.raises(EngineSettingError, match=r"whisper\.compute_type: .*int8"):
        WhisperCt2("x", files, replace(WhisperSettings(), compute_type="int3"))
