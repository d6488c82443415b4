"""Many rows side by side, beside transformers' `generate` of each alone, token for token."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from server.engines.qwen3_decoder import Decoder  # noqa: E402
from server.recognition import EngineSettingError, ModelError  # noqa: E402
from tests.hf_models import qwen3_asr_model  # noqa: E402

ENDS = frozenset({2, 7, 9, 11, 13, 30, 55, 80, 120, 121, 199, 230, 301, 350})
"""So many that some answers end by themselves."""
LENGTHS = [3, 40, 5, 90, 17, 33, 64, 1, 200]
BUDGETS = [30, 50, 10, 60, 20, 5, 100, 40, 1]


@pytest.fixture(scope="module")
def model():
    return qwen3_asr_model()


def prompt(n_positions, seed=0):
    generator = torch.Generator().manual_seed(1000 * seed + n_positions)
    return torch.randn(n_positions, 32, generator=generator) * 0.5


def decoder(model, ends=ENDS, most_rows=4, most_places=320):
    return Decoder(model, ends, most_rows=most_rows, most_places=most_places)


def generated(model, embedded, budget, ends=ENDS):
    """Tokens without the end, their log-probabilities, and whether there was an end."""
    with torch.inference_mode():
        found = model.generate(
            inputs_embeds=embedded[None],
            attention_mask=torch.ones(1, len(embedded)),
            max_new_tokens=budget,
            do_sample=False,
            eos_token_id=sorted(ends),
            pad_token_id=0,
            output_scores=True,
            return_dict_in_generate=True,
        )
    tokens = found.sequences[0].tolist()
    has_ended = tokens[-1] in ends
    said = tokens[:-1] if has_ended else tokens
    log_probabilities = [
        float(score[0].log_softmax(-1)[token])
        for score, token in zip(found.scores, said, strict=False)
    ]
    return said, log_probabilities, has_ended


def test_rows_of_every_length_say_what_each_says_alone(model):
    prompts = [prompt(n) for n in LENGTHS]
    decoded = decoder(model).decode(prompts, BUDGETS)
    for embedded, budget, ours in zip(prompts, BUDGETS, decoded, strict=True):
        tokens, log_probabilities, has_ended = generated(model, embedded, budget)
        assert (ours.tokens, ours.has_ended) == (tokens, has_ended)
        assert ours.log_probabilities == pytest.approx(log_probabilities, abs=1e-4)
    assert {ours.has_ended for ours in decoded} == {True, False}


def test_a_beginning_that_agrees_changes_nothing(model):
    whole = decoder(model, ends=frozenset({2})).decode([prompt(40)], [60])[0]
    assert len(whole.tokens) > 20
    for n_kept in (1, 7, 20):
        one = decoder(model, ends=frozenset({2}))
        begun = torch.cat((prompt(40), one.embed(whole.tokens[:n_kept])))
        rest = one.decode([begun], [60 - n_kept])[0]
        assert rest.tokens == whole.tokens[n_kept:]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 25)), min_size=1, max_size=9),
    st.integers(1, 5),
)
def test_neighbours_and_rows_make_no_difference(asked, most_rows):
    model = qwen3_asr_model()
    prompts = [prompt(n, seed) for seed, (n, _) in enumerate(asked)]
    budgets = [budget for _, budget in asked]
    together = decoder(model, most_rows=most_rows, most_places=100).decode(prompts, budgets)
    alone = [
        decoder(model, most_rows=1, most_places=100).decode([each], [budget])[0]
        for each, budget in zip(prompts, budgets, strict=True)
    ]
    assert [each.tokens for each in together] == [each.tokens for each in alone]


def test_a_decoder_keeps_nothing_of_the_batch_before(model):
    one, long = decoder(model), [prompt(n, 5) for n in (100, 150, 200)]
    first = one.decode([prompt(20)], [30])[0]
    one.decode(long, [60, 60, 60])
    assert one.decode([prompt(20)], [30])[0].tokens == first.tokens


def test_no_answer_is_longer_than_there_are_places(model):
    (ours,) = decoder(model, ends=frozenset({399}), most_places=50).decode([prompt(45)], [60])
    assert len(ours.tokens) == 5
    assert not ours.has_ended


def test_long_prompts_are_read_in_several_goes(model):
    prompts = [prompt(n) for n in (2500, 2600, 2700, 2800)]
    ours = decoder(model, most_rows=4, most_places=3000).decode(prompts, [3] * 4)
    theirs = [generated(model, each, 3)[0] for each in prompts]
    assert [each.tokens for each in ours] == theirs


def test_nothing_asked_is_nothing_answered(model):
    assert decoder(model).decode([], []) == []


def test_likelihoods_are_those_of_the_tokens(model):
    (ours,) = decoder(model).decode([prompt(30)], [20])
    assert all(value <= 0 for value in ours.log_probabilities)
    assert any(a != b for a, b in pairwise(ours.log_probabilities))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 2.0}),
    ],
)
def test_a_language_model_that_is_computed_otherwise_is_refused(name, value):
    model = qwen3_asr_model()
    setattr(model.model.language_model.config, name, value)
    with pytest.raises(ModelError):
        decoder(model)


def test_a_cache_that_no_machine_has_room_for_is_a_setting_to_change(model):
    with pytest.raises(EngineSettingError, match="most_rows"):
        decoder(model, most_rows=1 << 40)
