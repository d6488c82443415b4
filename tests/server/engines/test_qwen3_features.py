"""Spectrograms of many clips beside those that transformers makes of each alone."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import numpy as np  # noqa: E402

from server.engines.qwen3_features import LogMel  # noqa: E402
from server.recognition import ModelError  # noqa: E402

CPU = torch.device("cpu")
SIZES = [3000, 7999, 8000, 16_000, 40_123, 128_000, 128_160, 200_000]


@pytest.fixture(scope="module")
def extractor():
    return transformers.Qwen3ASRFeatureExtractor(feature_size=128)


def clips():
    noise = np.random.default_rng(0)
    return [noise.normal(0, 0.1 * (n + 1), size).astype(np.float32) for n, size in enumerate(SIZES)]


def test_a_clip_has_the_spectrogram_that_it_has_alone(extractor):
    batch = clips()
    for clip, ours in zip(batch, LogMel(extractor, CPU).of(batch), strict=True):
        alone = extractor(clip, sampling_rate=16_000, return_attention_mask=True, padding=True)
        theirs = torch.as_tensor(alone["input_features"])[0]
        n_frames = int(torch.as_tensor(alone["attention_mask"]).sum())
        assert ours.shape == (128, n_frames)
        torch.testing.assert_close(ours, theirs[:, :n_frames], rtol=0, atol=1e-5)


def test_silence_is_finite(extractor):
    (silent,) = LogMel(extractor, CPU).of([np.zeros(16_000, np.float32)])
    assert torch.isfinite(silent).all()


@pytest.mark.parametrize("wrong", [("dither", 0.1), ("sampling_rate", 8000)])
def test_an_extractor_of_another_kind_is_refused(wrong):
    other = transformers.Qwen3ASRFeatureExtractor(feature_size=128)
    setattr(other, *wrong)
    with pytest.raises(ModelError):
        LogMel(other, CPU)
