"""The opened files of a pack in, the engine for the model in them out.

Weights are opened straight into the memory of the GPU where one is used; where they are opened into
this machine's memory they are used there. Whatever lies in memory belongs to the engine from then
on. Refused with `ModelError`: what is no model that is known here; with `EngineSettingError`: a
setting that this machine has no device for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
import transformers

from server.audio import SAMPLE_RATE_HZ
from server.engines.device_memory import DeviceMemory
from server.engines.hf_folder import load_model, load_processor
from server.engines.qwen3_features import LogMel
from server.engines.qwen3_prompt import Conversation
from server.engines.tensors import Content
from server.engines.transformers_aligner import ForcedAligner, WordTimes
from server.engines.transformers_qwen3 import TransformersQwen3
from server.engines.transformers_settings import TransformersSettings
from server.engines.transformers_whisper import TransformersWhisper
from server.engines.whisper_vocabulary import open_vocabulary
from server.recognition import EngineSettingError, ModelError, Recognizer, Utterance

_DTYPES = {"auto": None, "bfloat16": torch.bfloat16, "float32": torch.float32}
_MULTILINGUAL_TOKENS = 51_865
"""A Whisper with as many knows more than English. Source: OpenAI Whisper `model.py`."""


class WeightPlaces:
    """Where the weights of one pack are opened to."""

    def __init__(self, settings: TransformersSettings) -> None:
        """Raises EngineSettingError."""
        self._device = _device(settings)
        self._memories: dict[str, DeviceMemory] = {}

    def places(self, names: Iterable[str]) -> dict[str, Callable[[int], DeviceMemory]]:
        """For the files with weights a GPU's memory, if there is one; nothing for the others."""
        if self._device.type != "cuda":
            return {}
        return {  # pragma: no cover - needs a GPU
            name: partial(self._make, name) for name in names if name.endswith(".safetensors")
        }

    def files(self, others: Mapping[str, memoryview]) -> dict[str, Content]:
        """All of the pack's, once it is opened."""
        placed = {name: memory.finish() for name, memory in self._memories.items()}
        return {**others, **placed}

    def wipe(self) -> None:
        """Zero what lies on a GPU; this machine's memory is wiped by whoever opened it."""
        for memory in self._memories.values():
            memory.tensor.zero_()  # pragma: no cover - needs a GPU

    def _make(self, name: str, n_bytes: int) -> DeviceMemory:  # pragma: no cover - needs a GPU
        with _room_on_device():
            memory = self._memories[name] = DeviceMemory(n_bytes, self._device)
        return memory


def open_aligner(files: Mapping[str, Content], settings: TransformersSettings) -> ForcedAligner:
    """Raises ModelError."""
    model = load_model(files, _DTYPES[settings.dtype])
    if not isinstance(model, transformers.Qwen3ASRForTokenClassification):
        raise ModelError("the pack of the aligner holds no forced aligner")
    return ForcedAligner(model, load_processor(_on_this_machine(files)))


def open_engine(
    model_id: str,
    files: Mapping[str, Content],
    settings: TransformersSettings,
    aligner: ForcedAligner | None = None,
) -> Recognizer:
    """Raises ModelError and EngineSettingError."""
    with _room_on_device():
        engine = _engine_for(model_id, files, settings, WordTimes(aligner))
        _try_out(engine)
    return engine


def _engine_for(
    model_id: str,
    files: Mapping[str, Content],
    settings: TransformersSettings,
    word_times: WordTimes,
) -> Recognizer:
    model = load_model(files, _DTYPES[settings.dtype])
    here = _on_this_machine(files)
    processor = load_processor(here)
    if isinstance(model, transformers.Qwen3ASRForConditionalGeneration):
        return TransformersQwen3(
            model_id,
            model,
            Conversation(processor, bytes(here["tokenizer.json"])),
            LogMel(processor.feature_extractor, model.device),
            word_times,
            settings,
        )
    if isinstance(model, transformers.WhisperForConditionalGeneration):
        is_multilingual = model.config.vocab_size >= _MULTILINGUAL_TOKENS
        return TransformersWhisper(
            model_id,
            model,
            processor.feature_extractor,
            open_vocabulary(here["tokenizer.json"], is_multilingual=is_multilingual),
            word_times,
            settings,
        )
    raise ModelError("the pack's model does not transcribe")


def _try_out(engine: Recognizer) -> None:
    """Whatever is wrong with a model is said when it opens, and not to the first who speaks."""
    silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
    try:
        engine.transcribe([Utterance(silence, is_final=True)])
    except torch.OutOfMemoryError:
        raise
    except Exception:  # noqa: BLE001 - a configuration can be wrong in any way
        raise ModelError("the pack's model opens, but cannot transcribe") from None


@contextmanager
def _room_on_device() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise EngineSettingError(
            "transformers.most_rows: the GPU has no room for the model and a cache of so many rows"
        ) from None


def _on_this_machine(files: Mapping[str, Content]) -> dict[str, memoryview]:
    return {name: content for name, content in files.items() if isinstance(content, memoryview)}


def _device(settings: TransformersSettings) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise EngineSettingError("transformers.device: this machine has no CUDA device")
    return torch.device("cuda" if has_cuda and settings.device != "cpu" else "cpu")
