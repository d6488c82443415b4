"""Whisper through transformers, beside the same weights through CTranslate2."""

from dataclasses import replace

import miniaudio
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from bench.sound import load_samples  # noqa: E402
from security.weights import open_pack  # noqa: E402
from server.engines.transformers_opening import open_engine  # noqa: E402
from server.engines.transformers_settings import TransformersSettings  # noqa: E402
from server.engines.whisper_ct2 import WhisperCt2, WhisperSettings  # noqa: E402
from server.packs import pack_trust  # noqa: E402
from server.recognition import Utterance  # noqa: E402
from tests.ct2_weights import write_whisper  # noqa: E402
from tests.hf_models import files_in  # noqa: E402

GREEDY = TransformersSettings(final_beams=1)


@pytest.fixture(scope="module")
def pair(embedded_model_pack, tmp_path_factory):
    """The embedded model's files, and their folder for transformers."""
    with open_pack(embedded_model_pack.pack_folder, pack_trust(embedded_model_pack)) as pack:
        yield pack.files, write_whisper(tmp_path_factory.mktemp("whisper"), pack.files)


@pytest.fixture(scope="module")
def engine(pair):
    return open_engine("tiny.en", files_in(pair[1]), GREEDY)


@pytest.fixture(scope="module")
def other(pair):
    """CTranslate2 in the same precision, with the full context and one beam."""
    full = 30_000
    settings = WhisperSettings(
        compute_type="float32",
        final_beams=1,
        padding_ms=full,
        partial_padding_ms=full,
        retry_padding_ms=full,
    )
    return WhisperCt2("tiny.en", pair[0], settings)


@pytest.fixture(scope="module")
def spoken(english_recordings):
    clips = []
    for recording in english_recordings:
        decoded = miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=16_000)
        clips.append(np.array(decoded.samples, np.float32) / 32768)
    return clips


def said(engine, batch):
    """Before the guard, which may ask the other engine for more."""
    return [hypothesis for hypothesis, _ in engine._decode(batch, 0)]


def test_the_words_are_those_that_ctranslate2_hears(engine, other, spoken):
    batch = [Utterance(clip[: 26 * 16_000], is_final=True) for clip in spoken]
    ours = [each.text for each in said(engine, batch)]
    assert ours == [said(other, [each])[0].text for each in batch]
    assert "The quick brown fox jumps over the lazy dog." in ours


def test_likelihoods_are_those_that_ctranslate2_finds(engine, other, spoken):
    batch = [Utterance(spoken[1], is_final=False)]
    (ours,), (theirs,) = said(engine, batch), said(other, batch)
    assert ours.no_speech_probability == pytest.approx(theirs.no_speech_probability, abs=0.01)
    assert ours.mean_log_probability == pytest.approx(theirs.mean_log_probability, abs=0.1)


@pytest.mark.shared
def test_on_real_recordings_the_words_are_those_that_ctranslate2_hears(engine, other, shared_audio):
    clips = [load_samples(recording.path) for recording in shared_audio[:24]]
    batch = [Utterance(clip[: 26 * 16_000], is_final=False) for clip in clips]
    ours, theirs = said(engine, batch), [said(other, [each])[0] for each in batch]
    same = [one.text == other.text for one, other in zip(ours, theirs, strict=True)]
    assert sum(same) >= len(same) - 1


def test_a_recording_is_heard_alike_alone_and_among_others(engine, spoken):
    batch = [Utterance(clip[: 20 * 16_000], is_final=True) for clip in spoken[:3]]
    together = said(engine, batch)
    alone = [said(engine, [utterance])[0] for utterance in batch]
    assert [each.text for each in together] == [each.text for each in alone]


def test_a_context_changes_the_spelling(engine, spoken):
    batch = [
        Utterance(spoken[1], is_final=True, context="the quick Braun fox, Braun"),
        Utterance(spoken[1], is_final=True),
    ]
    hinted, plain = said(engine, batch)
    assert "Braun" in hinted.text
    assert "brown" in plain.text


def test_beams_search_further(pair, spoken):
    wide = open_engine("tiny.en", files_in(pair[1]), TransformersSettings())
    (heard,) = said(wide, [Utterance(spoken[1], is_final=True)])
    assert heard.text == "The quick brown fox jumps over the lazy dog."
    assert all(0 < word.probability <= 1 for word in heard.words)
    assert -1 < heard.mean_log_probability < 0


def test_finals_have_words_with_estimated_times(engine, spoken):
    (heard,) = engine.transcribe([Utterance(spoken[1], is_final=True)])
    assert [word.text for word in heard.words] == heard.text.split()
    assert heard.are_times_estimated
    assert heard.words[-1].end_sample == spoken[1].size


def test_it_says_what_it_understands(engine):
    assert engine.card.languages == {"en"}
    assert engine.n_workers == 1


@pytest.fixture(scope="module")
def multilingual(pair, tmp_path_factory):
    """The same weights with a token more than English alone has, as if they knew languages."""
    folder = tmp_path_factory.mktemp("many")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(pair[1])
    generation = model.generation_config
    model.resize_token_embeddings(51_865)
    model.generation_config = generation
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).write_bytes((pair[1] / name).read_bytes())
    return open_engine("many", files_in(folder), replace(GREEDY, dtype="float32"))


def test_a_language_is_heard_or_forced_row_by_row(multilingual, spoken):
    batch = [
        Utterance(spoken[1], is_final=False, language="de"),
        Utterance(spoken[1], is_final=False),
    ]
    forced, heard = said(multilingual, batch)
    assert forced.language == "de"
    assert heard.language in multilingual.card.languages
    assert len(multilingual.card.languages) > 90
