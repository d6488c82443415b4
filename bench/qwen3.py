"""A size in, a folder of Qwen3-ASR with random weights out, as the hub would have it.

The 1.7 billion are transformers' defaults, the 0.6 billion from the model's report.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from tests.hf_models import qwen3_asr_processor

ARCHITECTURE = "Qwen3ASRForConditionalGeneration"
SIZES: Mapping[str, dict[str, dict[str, object]]] = {
    "1.7B": {"audio_config": {"output_dim": 2048}, "text_config": {"model_type": "qwen3"}},
    "0.6B": {
        "audio_config": {
            "d_model": 896,
            "encoder_layers": 18,
            "encoder_attention_heads": 14,
            "encoder_ffn_dim": 3584,
            "output_dim": 1024,
        },
        "text_config": {"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072},
    },
    "small": {
        "audio_config": {
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 128,
            "output_dim": 64,
            "downsample_hidden_size": 16,
        },
        "text_config": {
            "model_type": "qwen3",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
        },
    },
}
"""Small is for tests of this bench."""
_TEXT_1_7B = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 65536,
    "tie_word_embeddings": True,
}


def write_checkpoint(size: str, folder: Path) -> Path:
    """A folder as the hub would have it, bf16."""
    described = SIZES[size]
    text = {**_TEXT_1_7B, **described["text_config"]}
    config = transformers.Qwen3ASRConfig(
        audio_config=described["audio_config"], text_config=text, architectures=[ARCHITECTURE]
    )
    with torch.device("meta"):
        model = transformers.Qwen3ASRForConditionalGeneration(config)
    folder.mkdir(parents=True)
    chance = torch.Generator().manual_seed(7)
    tensors = {
        name: torch.empty(part.shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=chance)
        for name, part in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    transformers.GenerationConfig(eos_token_id=[151643, 151645]).save_pretrained(folder)
    qwen3_asr_processor().save_pretrained(folder)
    return folder
