"""Windows that are encoded once, beside transformers' encoding of the whole."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from server.engines.qwen3_encoder import WindowEncoder  # noqa: E402
from server.recognition import ModelError  # noqa: E402
from tests.hf_models import qwen3_asr_model  # noqa: E402

WINDOW_FRAMES = 800
LENGTHS_FRAMES = [50, 99, 100, 250, 799, 800, 801, 1250, 1601, 3000]


@pytest.fixture(scope="module")
def model():
    return qwen3_asr_model()


def spectrogram(n_frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(128, n_frames, generator=generator)


def whole(model, features):
    n_padding = -features.shape[1] % 100
    padded = torch.nn.functional.pad(features, (0, n_padding))
    mask = (torch.arange(padded.shape[1]) < features.shape[1]).long()
    with torch.inference_mode():
        return model.get_audio_features(padded[None], mask[None]).pooler_output


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_windows_of_many_utterances_are_what_the_encoder_makes_of_each_whole(model):
    batch = [spectrogram(n, seed=n) for n in LENGTHS_FRAMES]
    for features, ours in zip(batch, WindowEncoder(model, 100).encode(batch), strict=True):
        same(ours, whole(model, features))


def test_an_utterance_that_grows_has_its_full_windows_encoded_once(model):
    encoder, said = WindowEncoder(model, 100), spectrogram(2000)
    for n_frames in (700, 900, 1500, 1700, 2000):
        (ours,) = encoder.encode([said[:, :n_frames]])
        same(ours, whole(model, said[:, :n_frames]))
    assert encoder.windows_encoded == 5 + 2  # an open one each time, and each full one once


def test_a_window_that_has_changed_is_encoded_again(model):
    encoder, said = WindowEncoder(model, 100), spectrogram(WINDOW_FRAMES)
    encoder.encode([said])
    louder = said + 1e-3
    (ours,) = encoder.encode([louder])
    same(ours, whole(model, louder))
    assert encoder.windows_encoded == 2


def test_the_same_window_of_two_utterances_is_encoded_for_each_or_once_and_is_the_same(model):
    encoder, said = WindowEncoder(model, 100), spectrogram(WINDOW_FRAMES)
    first, second = encoder.encode([said, said])
    same(first, second)


def test_no_more_windows_are_remembered_than_is_said(model):
    encoder = WindowEncoder(model, 2)
    first, *others = (spectrogram(WINDOW_FRAMES, seed) for seed in range(3))
    encoder.encode([first])
    encoder.encode(others)
    encoder.encode([others[1]])
    assert encoder.windows_encoded == 3
    encoder.encode([first])
    assert encoder.windows_encoded == 4


def test_what_was_used_last_is_remembered_longest(model):
    encoder = WindowEncoder(model, 2)
    first, second, third = (spectrogram(WINDOW_FRAMES, seed) for seed in range(3))
    for said in (first, second, first, third, first):
        encoder.encode([said])
    assert encoder.windows_encoded == 3


def test_many_windows_are_encoded_in_several_goes(model):
    batch = [spectrogram(200, seed) for seed in range(70)]
    encoded = WindowEncoder(model, 100).encode(batch)
    for index in (0, 35, 69):
        same(encoded[index], whole(model, batch[index]))


def test_half_precision_that_would_have_to_be_clamped_is_refused(model):
    with pytest.raises(ModelError, match="float16"):
        WindowEncoder(qwen3_asr_model(torch.float16), 100)
