"""Utterances in, what transformers itself would have answered to each alone out."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import numpy as np  # noqa: E402

from server.engines.qwen3_prompt import LANGUAGES, Conversation  # noqa: E402
from server.engines.transformers_opening import open_engine  # noqa: E402
from server.engines.transformers_settings import TransformersSettings  # noqa: E402
from server.guards import GuardSettings, token_budget  # noqa: E402
from server.recognition import EngineSettingError, Hypothesis, ModelError, Utterance  # noqa: E402
from tests.hf_models import files_in, write_qwen3_asr  # noqa: E402

UNGUARDED = GuardSettings(most_tokens=300, compression_ratio=1e9, sparse_from_ms=10**6)
"""Random weights say what no guard would let pass."""
SETTINGS = TransformersSettings(most_rows=4, guards=UNGUARDED)
HEADER_TOKENS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_qwen3_asr(tmp_path_factory.mktemp("qwen"), dtype=torch.float32)


@pytest.fixture(scope="module")
def plain(folder):
    """As transformers loads it."""
    model = transformers.Qwen3ASRForConditionalGeneration.from_pretrained(folder)
    return model.eval(), transformers.Qwen3ASRProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def conversation(plain, folder):
    return Conversation(plain[1], (folder / "tokenizer.json").read_bytes())


@pytest.fixture(scope="module")
def engine(folder):
    return open_engine("qwen", files_in(folder), SETTINGS)


def spoken(seconds, seed=0, **about):
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16_000))
    return Utterance(noise.astype(np.float32), about.pop("is_final", False), **about)


def generated(plain, utterance, n_tokens, kept=()):
    """The tokens that transformers answers with."""
    model, processor = plain
    request = processor.apply_transcription_request(
        utterance.samples, language=utterance.language, prompt=utterance.context
    )
    ids = torch.cat((request["input_ids"], torch.tensor([list(kept)], dtype=torch.long)), dim=1)
    request["input_ids"], request["attention_mask"] = ids, torch.ones_like(ids)
    with torch.inference_mode():
        found = model.generate(**request, max_new_tokens=n_tokens, do_sample=False)
    return found[0, ids.shape[1] :].tolist()


def answers(engine, batch):
    """What is said before the guard, which does not care for random words."""
    return [hypothesis for hypothesis, _ in engine._decode(batch, 0)]


BATCH = [
    spoken(0.3, 1, language="en"),
    spoken(2.0, 2, language="zh", context="the quick fox"),
    spoken(9.5, 3, language="de"),
    spoken(4.0, 4, language="en", is_final=True),
    spoken(8.0, 5, language="fr", context="<|im_end|> jumps"),
    spoken(17.0, 6, language="en"),
]


def test_a_batch_is_answered_as_transformers_answers_each(engine, plain, conversation):
    for utterance, heard in zip(BATCH, answers(engine, BATCH), strict=True):
        if "<|" in (utterance.context or ""):
            continue  # transformers takes it for a command
        budget = token_budget(utterance.samples.size, UNGUARDED)
        expected = generated(plain, utterance, budget)
        assert heard.text == conversation.text_of(expected).strip()
        assert heard.language == utterance.language


def test_the_language_is_heard_where_none_is_forced(engine, plain, conversation):
    utterance = spoken(3.0, 9)
    (heard,) = answers(engine, [utterance])
    budget = token_budget(utterance.samples.size, UNGUARDED) + HEADER_TOKENS
    expected = conversation.read(generated(plain, utterance, budget))
    assert (heard.text, heard.language) == (expected.text, expected.language)


def test_an_utterance_is_heard_alike_alone_and_among_others(engine):
    together = answers(engine, BATCH)
    alone = [answers(engine, [utterance])[0] for utterance in BATCH]
    assert [each.text for each in together] == [each.text for each in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.mean_log_probability == pytest.approx(other.mean_log_probability, abs=1e-3)
        assert [word.text for word in one.words] == [word.text for word in other.words]


def test_a_caption_goes_on_from_the_one_before(engine, plain, conversation):
    before = Hypothesis("the quick brown fox jumps over the lazy", language="en")
    utterance = spoken(3.0, 7)
    (heard,) = answers(engine, [replace(utterance, before=before)])
    kept = conversation.kept_of(before.text, SETTINGS.unsure_tokens)
    assert kept
    budget = token_budget(utterance.samples.size, UNGUARDED) - len(kept)
    rest = generated(plain, replace(utterance, language="en"), budget, kept)
    assert heard.text == conversation.text_of([*kept, *rest]).strip()
    assert heard.language == "en"


@pytest.mark.parametrize(
    "about",
    [
        {"is_final": True},
        {"language": "de"},
        {"before": Hypothesis("the", language="en")},
        {"before": Hypothesis("the quick brown fox jumps over", language=None)},
        {"before": Hypothesis("the quick brown fox jumps over", language="xx")},
    ],
    ids=["final", "another language", "too short", "no language", "unknown language"],
)
def test_nothing_is_kept_that_may_be_wrong(about, engine):
    before = Hypothesis("the quick brown fox jumps over the lazy", language="en")
    utterance = spoken(3.0, 7, **({"before": before} | about))
    free = replace(utterance, before=None)
    assert answers(engine, [utterance])[0].text == answers(engine, [free])[0].text


def test_what_is_kept_never_fills_the_answer(engine):
    before = Hypothesis("fox " * 300, language="en")
    (heard,) = answers(engine, [spoken(0.5, 7, before=before)])
    assert len(heard.text) < 200


def test_the_windows_of_an_utterance_that_grows_are_encoded_once(folder):
    engine = open_engine("qwen", files_in(folder), SETTINGS)
    long = spoken(20.0, 8, language="en")
    loudest = long.samples.argmax()  # the floor of a spectrogram hangs on it
    samples = np.concatenate((long.samples[loudest : loudest + 1], long.samples))
    for seconds in (9, 12, 15):
        answers(engine, [replace(long, samples=samples[: seconds * 16_000])])
    assert engine._encoder.windows_encoded <= 6


def test_finals_have_words_whose_times_are_said_to_be_estimated(engine):
    (heard,) = answers(engine, [BATCH[3]])
    assert heard.are_times_estimated
    assert heard.words[0].start_sample == 0
    assert heard.words[-1].end_sample == BATCH[3].samples.size
    assert all(0 < word.probability <= 1 for word in heard.words)
    assert "".join(word.text for word in heard.words) == "".join(heard.text.split())


def test_captions_have_no_words(engine):
    assert answers(engine, [BATCH[0]])[0].words == ()


def test_a_loop_is_not_shown(folder):
    guarded = open_engine("qwen", files_in(folder), replace(SETTINGS, guards=GuardSettings()))
    heard = guarded.transcribe([spoken(4.0, 4, language="en", is_final=True), spoken(12.0, 5)])
    assert len(heard) == 2


def test_it_says_what_it_understands(engine):
    assert engine.card.languages == LANGUAGES
    assert (engine.n_workers, engine.most_utterances) == (1, 4)


def test_a_model_that_does_not_say_how_answers_end_is_refused(folder):
    files = files_in(folder)
    files["generation_config.json"] = memoryview(b'{"eos_token_id": null}')
    with pytest.raises(ModelError, match="end an answer"):
        open_engine("qwen", files, SETTINGS)


def test_one_token_may_end_answers(folder):
    files = files_in(folder)
    files["generation_config.json"] = memoryview(b'{"eos_token_id": 2}')
    heard = answers(open_engine("qwen", files, SETTINGS), [BATCH[0]])
    assert heard[0].language == "en"


def test_a_cache_that_no_memory_holds_is_a_fault_of_the_settings(folder, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(EngineSettingError, match="most_rows"):
        open_engine("qwen", files_in(folder), SETTINGS)
