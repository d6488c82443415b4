"""The whole bench on a processor, at a size that takes seconds."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from bench.gpu import Asked, measure


def test_it_measures_all_that_it_promises(tmp_path, capsys):
    asked = Asked("small", "cpu", batches=(1, 2), runs=1, folder=tmp_path)
    figures = measure(asked)
    for name in ("audio_s_per_s", "hf_audio_s_per_s", "p50_ms", "caption_ms", "first_token_ms"):
        assert figures[f"{name}_1"] > 0
        assert figures[f"{name}_2"] > 0
    assert figures["pack_s"] > 0 < figures["plain_s"]
    assert figures["streams"] >= 0
    assert figures["peak_gib"] > 0
    assert "2 at a time" in capsys.readouterr().out
