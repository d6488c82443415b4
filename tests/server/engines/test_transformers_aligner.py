"""When words are said, as the aligner's own decoding has it, or estimated."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import numpy as np  # noqa: E402

from server.engines import transformers_aligner  # noqa: E402
from server.engines.transformers_aligner import WordTimes, aligned_languages  # noqa: E402
from server.engines.transformers_opening import open_aligner  # noqa: E402
from server.engines.transformers_settings import TransformersSettings  # noqa: E402
from server.recognition import Hypothesis, ModelError, Word  # noqa: E402
from tests.hf_models import files_in, write_aligner, write_qwen3_asr  # noqa: E402

SETTINGS = TransformersSettings(dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_aligner(tmp_path_factory.mktemp("aligner"))


@pytest.fixture(scope="module")
def aligner(folder):
    return open_aligner(files_in(folder), SETTINGS)


def clip(seconds, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16_000))
    return noise.astype(np.float32)


def heard(text, language="en"):
    words = tuple(Word(word, 0, 0, 0.9) for word in text.split())
    return Hypothesis(text, words, language)


def alone(folder, samples, text, language):
    """As transformers documents it, one text at a time."""
    model = transformers.Qwen3ASRForTokenClassification.from_pretrained(folder).float()
    processor = transformers.Qwen3ASRProcessor.from_pretrained(folder)
    inputs, words = processor.prepare_forced_aligner_inputs(samples, text, language)
    inputs["input_features"] = inputs["input_features"].to(model.dtype)
    with torch.inference_mode():
        logits = model(**inputs).logits
    (items,) = processor.decode_forced_alignment(logits, inputs["input_ids"], words, 7)
    return [(item["text"], item["start_time"], item["end_time"]) for item in items]


def test_texts_of_a_batch_have_the_times_that_each_has_alone(aligner, folder):
    clips = [clip(4.0, 1), clip(1.5, 2), clip(9.0, 3)]
    texts = ["the quick, brown fox", "今天 jumps", "lazy dog over the fox"]
    languages = ["en", "zh", "de"]
    found = aligner.align(clips, texts, languages)
    for spans, samples, text, language in zip(found, clips, texts, languages, strict=True):
        expected = alone(folder, samples, text, language)
        assert [span.text for span in spans] == [item[0] for item in expected]
        for span, (_, start_s, end_s) in zip(spans, expected, strict=True):
            assert span.start_sample == min(int(start_s * 16_000), samples.size)
            assert span.end_sample >= span.start_sample
            assert span.end_sample <= max(int(end_s * 16_000), span.start_sample)


def test_aligned_words_are_not_said_to_be_estimated(aligner):
    (timed,) = WordTimes(aligner).of([clip(4.0)], [heard("The quick fox.")])
    assert not timed.are_times_estimated
    assert all(word.end_sample >= word.start_sample for word in timed.words)
    assert [word.text for word in timed.words] == ["The", "quick", "fox."]


def test_more_texts_than_fit_a_batch_are_aligned_in_turn(aligner):
    many = [heard("the fox") for _ in range(20)]
    timed = WordTimes(aligner).of([clip(1.0, seed) for seed in range(20)], many)
    assert not any(each.are_times_estimated for each in timed)


@pytest.mark.parametrize(
    "unable", [heard("the fox", None), heard("ett två", "sv"), heard("...", "en"), heard("", "en")]
)
def test_what_cannot_be_aligned_is_estimated(unable, aligner):
    fine, other = WordTimes(aligner).of([clip(1.0), clip(2.0)], [heard("the fox"), unable])
    assert not fine.are_times_estimated
    assert other.are_times_estimated
    assert not other.words or other.words[-1].end_sample == 32_000


def test_without_an_aligner_times_are_estimated():
    (timed,) = WordTimes(None).of([clip(1.0)], [heard("the fox")])
    assert timed.are_times_estimated
    assert [(word.start_sample, word.end_sample) for word in timed.words] == [
        (0, 8_000),
        (8_000, 16_000),
    ]


def test_languages_that_need_another_package_wait_for_it(monkeypatch):
    monkeypatch.setattr(transformers_aligner, "_NEEDS", {"ja": lambda: True, "ko": lambda: False})
    assert "ja" in aligned_languages()
    assert "ko" not in aligned_languages()
    assert {"en", "zh", "yue"} <= aligned_languages()


def test_a_model_that_transcribes_is_no_aligner(tmp_path):
    with pytest.raises(ModelError, match="aligner"):
        open_aligner(files_in(write_qwen3_asr(tmp_path)), SETTINGS)
