"""The opened files of a Hugging Face folder in; its model, tokenizer and processor out, by no path.

The weights become the model's parameters as they lie in memory, here or on a GPU: transformers
would bring every tensor it loads to this machine's memory, so it is given stand-ins that take none,
and the checkpoint's tensors take their places. Everything else is made from its bytes, so that no
file, secret or not, is put on a disk for a library to find. Classes are taken from transformers by
the names below and from nowhere else: code that comes with a model, or that its configuration would
have fetched, is not run. Refused too, with `ModelError`: a model that is quantised, or that is not
whole. The opened pack must outlive the model.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
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

TOKENIZERS: Final[Mapping[str, str]] = {
    "WhisperTokenizer": "WhisperTokenizer",
    "WhisperTokenizerFast": "WhisperTokenizer",
}
"""Those with methods that their processor asks for; `tokenizer.json` says all of the others."""

_Json = dict[str, Any]
_CODE = "auto_map"
_QUANTIZED = "quantization_config"
_HOW_TO_RUN = frozenset(
    {
        "attn_implementation",
        "_attn_implementation",
        "experts_implementation",
        "_experts_implementation",
        "fusion_config",
        "distributed_config",
    }
)
"""Not for a model to decide: the name of a kernel may be one to be fetched and run."""
_OF_TOKENIZER = frozenset(
    {
        "additional_special_tokens",
        "chat_template",
        "clean_up_tokenization_spaces",
        "extra_special_tokens",
        "language",
        "model_input_names",
        "model_max_length",
        "padding_side",
        "predict_timestamps",
        "split_special_tokens",
        "task",
        "truncation_side",
    }
)
"""Besides the special tokens; among the others are names of files to read."""
_MISFITS = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What transformers raises over a value that is none of its kind."""
_TOKEN_SUFFIXES = ("_token", "_prefix_space")


def load_model(
    files: Mapping[str, Content], dtype: torch.dtype | None = None
) -> transformers.PreTrainedModel:
    """The model, ready to be asked; in the checkpoint's own dtype its weights are not copied.

    Raises ModelError.
    """
    described = _read_json(files, "config.json")
    _leave_running_to_us(described)
    match described.get("architectures"):
        case [str(name), *_] if name in MODELS:
            pass
        case _:
            raise ModelError("the pack holds no model that is known here")
    tensors = open_checkpoint(files)
    wanted = dtype or _dtype_of(tensors)
    stand_ins = {name: _stand_in(tensor, wanted) for name, tensor in tensors.items()}
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # a model that does not fit is refused here, in one line
    try:
        config = transformers.AutoConfig.for_model(**described)
        model, report = getattr(transformers, name).from_pretrained(
            None, config=config, state_dict=stand_ins, dtype=wanted, output_loading_info=True
        )
        if "generation_config.json" in files:
            generation = _read_json(files, "generation_config.json")
            model.generation_config = transformers.GenerationConfig.from_dict(generation)
    except RuntimeError:
        raise ModelError("the checkpoint of the pack is not that of its configuration") from None
    except (*_MISFITS, StrictDataclassError):
        raise ModelError("the configuration of the pack's model is not one of its kind") from None
    if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
        raise ModelError("the checkpoint of the pack is not that of its configuration")
    _take_places(model, {stand_ins[name].data_ptr(): tensors[name] for name in tensors})
    model.requires_grad_(requires_grad=False)
    loaded: transformers.PreTrainedModel = model.eval()
    return loaded


def load_tokenizer(files: Mapping[str, memoryview]) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer. Raises ModelError."""
    described = _read_json(files, "tokenizer_config.json")
    given = {
        name: _without_flags(value)
        for name, value in described.items()
        if name in _OF_TOKENIZER or name.endswith(_TOKEN_SUFFIXES)
    }
    kind = TOKENIZERS.get(str(described.get("tokenizer_class")), "PreTrainedTokenizerFast")
    try:
        tokenizer = Tokenizer.from_buffer(bytes(files["tokenizer.json"]))
        made: transformers.PreTrainedTokenizerFast = getattr(transformers, kind)(
            tokenizer_object=tokenizer, **given
        )
    except _MISFITS:
        raise ModelError("the tokenizer of the pack's model is damaged") from None
    return made


def load_processor(files: Mapping[str, memoryview]) -> transformers.ProcessorMixin:
    """What turns audio and text into the model's input, and its output into text.

    Raises ModelError.
    """
    described = (
        _read_json(files, "processor_config.json") if "processor_config.json" in files else {}
    )
    extractor = described.pop("feature_extractor", None)
    if not isinstance(extractor, dict):
        extractor = _read_json(files, "preprocessor_config.json")
    tokenizer = load_tokenizer(files)
    name = described.pop("processor_class", None) or extractor.pop("processor_class", None)
    if not isinstance(name, str) or name not in PROCESSORS:
        raise ModelError("the pack holds no processor that is known here")
    template = {"chat_template": chat} if (chat := _chat_template(files)) else {}
    try:
        extracting = getattr(transformers, PROCESSORS[name]).from_dict(extractor)
        made: transformers.ProcessorMixin = getattr(transformers, name)(
            feature_extractor=extracting, tokenizer=tokenizer, **described, **template
        )
    except _MISFITS:
        raise ModelError("the processor of the pack's model is not one of its kind") from None
    return made


def _chat_template(files: Mapping[str, memoryview]) -> str | None:
    template: object = None
    if "chat_template.jinja" in files:
        try:
            template = bytes(files["chat_template.jinja"]).decode()
        except UnicodeError:
            raise ModelError("chat_template.jinja of the pack is damaged") from None
    elif "chat_template.json" in files:
        template = _read_json(files, "chat_template.json").get("chat_template")
    if not isinstance(template, str | None):
        raise ModelError("chat_template.json of the pack is damaged")
    return template


def _stand_in(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Of the same shape, and of the dtype that the model will have; one number in memory."""
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    return torch.empty((), dtype=kind).expand(tensor.shape)


def _take_places(model: transformers.PreTrainedModel, tensors: Mapping[int, torch.Tensor]) -> None:
    """Put each tensor where its stand-in is, found by address; computed buffers go beside them."""
    device = next(iter(tensors.values())).device
    for parameter in model.parameters():
        if parameter.data_ptr() not in tensors:
            raise ModelError("the checkpoint of the pack would have to be converted")
    for held in chain(model.parameters(), model.buffers()):
        held.data = tensors.get(held.data_ptr(), held).to(device, held.dtype)


def _without_flags(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Special tokens by their text alone: how they match is in `tokenizer.json`."""
    match value:
        case {"content": str(text)}:
            return text
        case list():
            return [_without_flags(part) for part in value]
        case _:
            return value


def _dtype_of(tensors: Mapping[str, torch.Tensor]) -> torch.dtype:
    """That of the weights; a stray tensor of another kind does not change it."""
    kinds = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    return max(set(kinds), key=kinds.count) if kinds else torch.float32


def _read_json(files: Mapping[str, Content], name: str) -> _Json:
    try:
        described = msgspec.json.decode(bytes_of(files[name]), type=_Json)
    except KeyError:
        raise ModelError(f"the pack holds no {name}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ModelError(f"{name} of the pack is damaged") from None
    if any(_CODE in part for part in _parts(described)):
        raise ModelError("the pack's model brings code of its own, which is not run")
    return described


def _leave_running_to_us(described: _Json) -> None:
    """Drop what a configuration says of how to run its model."""
    for part in _parts(described):
        if part.get(_QUANTIZED) is not None:
            raise ModelError("the pack's model is quantised in a way that is not known here")
        for name in _HOW_TO_RUN & part.keys():
            del part[name]


def _parts(described: _Json) -> Iterator[_Json]:
    """The object and all those inside it."""
    waiting: list[Any] = [described]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
