"""A Whisper that CTranslate2 runs in, the same weights as transformers names them out.

The file: a version, the name and revision of a specification, then each variable with its name,
shape, type and bytes, then names for variables that exist already. CTranslate2 keeps the
projections of query, key and value in one; transformers has three, and no bias for the key. Source:
CTranslate2 `model_spec.py`, `converters/transformers.py`.
"""

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(content: bytes) -> dict[str, np.ndarray]:
    """Every variable by its name."""
    file = io.BytesIO(content)

    def number(kind: str) -> int:
        return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0])

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    number("I"), text(), number("I")  # version, specification, revision
    variables = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype = _DTYPES[number("B")]
        variables[name] = np.frombuffer(file.read(number("I")), dtype).reshape(shape)
    return variables


def whisper_tensors(variables: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """As `WhisperForConditionalGeneration` names them, float32."""
    tensors = {
        "model.encoder.conv1.weight": variables["encoder/conv1/weight"],
        "model.encoder.conv1.bias": variables["encoder/conv1/bias"],
        "model.encoder.conv2.weight": variables["encoder/conv2/weight"],
        "model.encoder.conv2.bias": variables["encoder/conv2/bias"],
        "model.decoder.embed_tokens.weight": variables["decoder/embeddings/weight"],
    }
    for side in ("encoder", "decoder"):
        positions = variables[f"{side}/position_encodings/encodings"]
        tensors[f"model.{side}.embed_positions.weight"] = positions
        tensors |= _norm(variables, f"{side}/layer_norm", f"model.{side}.layer_norm")
        layers = {name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_")}
        for layer in sorted(layers - {"layer_norm"}):
            number = layer.removeprefix("layer_")
            tensors |= _layer(variables, f"{side}/{layer}", f"model.{side}.layers.{number}")
    return {name: torch.tensor(np.asarray(part, np.float32)) for name, part in tensors.items()}


def _layer(variables: Mapping[str, np.ndarray], ours: str, theirs: str) -> dict[str, np.ndarray]:
    tensors = {
        **_norm(variables, f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm"),
        **_split(
            variables,
            f"{ours}/self_attention/linear_0",
            [f"{theirs}.self_attn.{part}_proj" for part in "qkv"],
        ),
        **_linear(variables, f"{ours}/self_attention/linear_1", f"{theirs}.self_attn.out_proj"),
        **_norm(variables, f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm"),
        **_linear(variables, f"{ours}/ffn/linear_0", f"{theirs}.fc1"),
        **_linear(variables, f"{ours}/ffn/linear_1", f"{theirs}.fc2"),
    }
    if f"{ours}/attention/linear_0/weight" not in variables:
        return tensors
    crossed = f"{theirs}.encoder_attn"
    return {
        **tensors,
        **_norm(variables, f"{ours}/attention/layer_norm", f"{crossed}_layer_norm"),
        **_linear(variables, f"{ours}/attention/linear_0", f"{crossed}.q_proj"),
        **_split(
            variables,
            f"{ours}/attention/linear_1",
            [f"{crossed}.{part}_proj" for part in "kv"],
        ),
        **_linear(variables, f"{ours}/attention/linear_2", f"{crossed}.out_proj"),
    }


def _linear(variables: Mapping[str, np.ndarray], ours: str, theirs: str) -> dict[str, np.ndarray]:
    return {f"{theirs}.{kind}": variables[f"{ours}/{kind}"] for kind in ("weight", "bias")}


def _split(
    variables: Mapping[str, np.ndarray], ours: str, theirs: list[str]
) -> dict[str, np.ndarray]:
    tensors = {}
    for kind in ("weight", "bias"):
        parts = np.split(variables[f"{ours}/{kind}"], len(theirs))
        for name, part in zip(theirs, parts, strict=True):
            if name.endswith("k_proj") and kind == "bias":
                assert not part.any()
            else:
                tensors[f"{name}.{kind}"] = part
    return tensors


def _norm(variables: Mapping[str, np.ndarray], ours: str, theirs: str) -> dict[str, np.ndarray]:
    return {
        f"{theirs}.weight": variables[f"{ours}/gamma"],
        f"{theirs}.bias": variables[f"{ours}/beta"],
    }


def write_whisper(folder: Path, files: Mapping[str, memoryview]) -> Path:
    """The folder of transformers for the files of a CTranslate2 Whisper."""
    tensors = whisper_tensors(read_variables(bytes(files["model.bin"])))
    described = json.loads(bytes(files["config.json"]))
    width, n_mels = tensors["model.encoder.conv1.weight"].shape[:2]
    vocabulary = tensors["model.decoder.embed_tokens.weight"].shape[0]
    tokenizer = Tokenizer.from_buffer(bytes(files["tokenizer.json"]))
    end = tokenizer.token_to_id("<|endoftext|>")
    start = tokenizer.token_to_id("<|startoftranscript|>")
    n_layers = len({name.split(".")[3] for name in tensors if ".encoder.layers." in name})
    config = transformers.WhisperConfig(
        vocab_size=vocabulary,
        num_mel_bins=n_mels,
        d_model=width,
        encoder_layers=n_layers,
        decoder_layers=n_layers,
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        encoder_ffn_dim=width * 4,
        decoder_ffn_dim=width * 4,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    missing = model.load_state_dict(tensors, strict=False)
    assert not missing.unexpected_keys
    assert missing.missing_keys == ["proj_out.weight"]
    model.tie_weights()
    model.generation_config = transformers.GenerationConfig(
        suppress_tokens=described["suppress_ids"],
        begin_suppress_tokens=described["suppress_ids_begin"],
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        # what else the published checkpoints say
        max_length=448,
        return_timestamps=False,
        is_multilingual=False,
        no_timestamps_token_id=tokenizer.token_to_id("<|notimestamps|>"),
        alignment_heads=described["alignment_heads"],
    )
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    transformers.WhisperProcessor(
        feature_extractor=transformers.WhisperFeatureExtractor(feature_size=n_mels),
        tokenizer=transformers.WhisperTokenizer(tokenizer_object=tokenizer),
    ).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(bytes(files["tokenizer.json"]))
    return folder
