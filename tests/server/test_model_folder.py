"""Which files of a folder a pack needs."""

import json

import pytest

from security.errors import SealError
from server.model_folder import engine_of, needed_files

DESCRIBED = {"config.json", "tokenizer.json", "chat_template.jinja", "merges.txt"}
BESIDE = {"README.md", "LICENSE.txt", "pytorch_model.bin", "model.fp32-00001-of-00002.safetensors"}


def test_the_engine_is_told_by_the_weights():
    assert engine_of({"model.bin", "config.json"}) == "whisper-ct2"
    assert engine_of({"model.safetensors", "config.json"}) == "transformers"


@pytest.mark.parametrize("names", [set(), {"config.json"}, {"model.safetensors"}])
def test_a_folder_without_a_model_is_refused(names):
    with pytest.raises(SealError, match="neither"):
        engine_of(names)


def test_of_a_model_of_transformers_weights_and_descriptions_are_needed():
    weights = {"model.safetensors"}
    assert needed_files(DESCRIBED | BESIDE | weights, None) == DESCRIBED | weights


def test_of_shards_those_that_the_index_names_are_needed():
    shards = {"model-1.safetensors", "model-2.safetensors"}
    index = json.dumps({"weight_map": dict(zip("ab", sorted(shards), strict=True))}).encode()
    names = DESCRIBED | BESIDE | shards | {"model.safetensors.index.json", "other.safetensors"}
    expected = DESCRIBED | shards | {"model.safetensors.index.json"}
    assert needed_files(names, index) == expected


def test_all_of_a_converted_model_is_needed():
    names = {"model.bin", "config.json", "vocabulary.txt"}
    assert needed_files(names, None) == names


def test_weights_that_are_missing_are_named():
    with pytest.raises(SealError, match="model-2"):
        needed_files(
            {"config.json", "model-1.safetensors"}, b'{"weight_map": {"a": "model-2.safetensors"}}'
        )


@pytest.mark.parametrize("index", [b"", b"[]", b'{"weight_map": 1}', b"[" * 100_000])
def test_a_damaged_index_is_refused(index):
    with pytest.raises(SealError, match="damaged"):
        needed_files({"config.json", "model-1.safetensors"}, index)
