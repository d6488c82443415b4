"""The opened files of a Hugging Face folder in; its model, tokenizer and processor out, by no path.

The weights become the model's parameters as they lie in memory: the skeleton is built without any,
and the checkpoint's tensors take their places. Everything else is made from its bytes, so that no
file, secret or not, is put on a disk for a library to find. Classes are taken from transformers by
the names below and from nowhere else: code that comes with a model is not run. The opened pack must
outlive the model.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from transformers.utils import logging

from server.engines.tensors import Content, bytes_of, open_checkpoint
from server.recognition import ModelError

MODELS: Final = frozenset(
    {
        "Qwen3ASRForConditionalGeneration",
        "Qwen3ASRForTokenClassification",
        "WhisperForConditionalGeneration",
    }
)
PROCESSORS: Final[Mapping[str, str]] = {
    "Qwen3ASRProcessor": "Qwen3ASRFeatureExtractor",
    "WhisperProcessor": "WhisperFeatureExtractor",
}
"""Each with the one feature extractor that it works with."""

_Json = dict[str, Any]
_BUILT_BY_US = {"tokenizer_class", "tokenizer_file", "backend", "auto_map", "processor_class"}


def load_model(
    files: Mapping[str, Content], dtype: torch.dtype | None = None
) -> transformers.PreTrainedModel:
    """The model, ready to be asked; in the checkpoint's own dtype its weights are not copied.

    Raises ModelError.
    """
    described = _read_json(files, "config.json")
    _refuse_code(described)
    architectures = described.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else None
    if name not in MODELS:
        raise ModelError("the pack holds no model that is known here")
    tensors = open_checkpoint(files)
    logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.for_model(**described)
        model, report = getattr(transformers, name).from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype or _dtype_of(tensors),
            output_loading_info=True,
        )
        if "generation_config.json" in files:
            generation = _read_json(files, "generation_config.json")
            model.generation_config = transformers.GenerationConfig.from_dict(generation)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, StrictDataclassError):
        raise ModelError("the configuration of the pack's model is not one of its kind") from None
    if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
        raise ModelError("the checkpoint of the pack is not that of its configuration")
    model.requires_grad_(requires_grad=False)
    loaded: transformers.PreTrainedModel = model.eval()
    return loaded


def load_tokenizer(files: Mapping[str, memoryview]) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer. Raises ModelError."""
    described = _read_json(files, "tokenizer_config.json")
    _refuse_code(described)
    given = {name: value for name, value in described.items() if name not in _BUILT_BY_US}
    try:
        tokenizer = Tokenizer.from_buffer(bytes(files["tokenizer.json"]))
        return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **given)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError("the tokenizer of the pack's model is damaged") from None


def load_processor(files: Mapping[str, memoryview]) -> transformers.ProcessorMixin:
    """What turns audio and text into the model's input, and its output into text.

    Raises ModelError.
    """
    described = (
        _read_json(files, "processor_config.json") if "processor_config.json" in files else {}
    )
    _refuse_code(described)
    extractor = described.pop("feature_extractor", None)
    if extractor is None:
        extractor = _read_json(files, "preprocessor_config.json")
    tokenizer = load_tokenizer(files)
    name = described.pop("processor_class", None) or extractor.pop("processor_class", None)
    if name not in PROCESSORS:
        raise ModelError("the pack holds no processor that is known here")
    template = {"chat_template": chat} if (chat := _chat_template(files)) else {}
    try:
        extracting = getattr(transformers, PROCESSORS[name]).from_dict(extractor)
        made: transformers.ProcessorMixin = getattr(transformers, name)(
            feature_extractor=extracting, tokenizer=tokenizer, **described, **template
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError("the processor of the pack's model is not one of its kind") from None
    return made


def _chat_template(files: Mapping[str, memoryview]) -> str | None:
    if "chat_template.jinja" in files:
        return bytes(files["chat_template.jinja"]).decode()
    if "chat_template.json" in files:
        return str(_read_json(files, "chat_template.json").get("chat_template", ""))
    return None


def _dtype_of(tensors: Mapping[str, torch.Tensor]) -> torch.dtype:
    """That of the weights; a stray tensor of another kind does not change it."""
    kinds = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    return max(set(kinds), key=kinds.count) if kinds else torch.float32


def _read_json(files: Mapping[str, Content], name: str) -> _Json:
    try:
        return msgspec.json.decode(bytes_of(files[name]), type=_Json)
    except KeyError:
        raise ModelError(f"the pack holds no {name}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ModelError(f"{name} of the pack is damaged") from None


def _refuse_code(described: _Json) -> None:
    if "auto_map" in described:
        raise ModelError("the pack's model brings code of its own, which is not run")
