"""Small Hugging Face folders with random weights, as transformers itself writes them."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = {
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
ENDS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
WHISPER_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
CHAT_TEMPLATE = (
    "{%- set ns = namespace(system_text='') -%}"
    "{%- for m in messages if m.role == 'system' -%}"
    "{%- for c in m.content if c.type == 'text' -%}"
    "{%- set ns.system_text = ns.system_text + c.text -%}"
    "{%- endfor -%}{%- endfor -%}"
    "{%- set ns2 = namespace(audio_tokens='') -%}"
    "{%- for m in messages -%}{%- for c in m.content -%}"
    "{%- if c.type == 'audio' or 'audio' in c -%}"
    "{%- set ns2.audio_tokens = ns2.audio_tokens + '<|audio_start|><|audio_pad|><|audio_end|>' -%}"
    "{%- endif -%}{%- endfor -%}{%- endfor -%}"
    "{{- '<|im_start|>system\n' + ns.system_text + '<|im_end|>\n' -}}"
    "{{- '<|im_start|>user\n' + ns2.audio_tokens + '<|im_end|>\n' -}}"
    "{%- for m in messages if m.role == 'assistant' -%}"
    "{{- '<|im_start|>assistant\n' -}}"
    "{%- for c in m.content if c.type == 'text' -%}{{- c.text -}}{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
"""As Qwen3-ASR's: what the system says, the audio, and what the assistant begins with."""


ALIGNER_TEMPLATE = (
    "{%- for m in messages -%}{%- for c in m.content -%}"
    "{%- if c.type == 'audio' -%}{{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}"
    "{%- else -%}{{- c.text + '<timestamp><timestamp>' -}}{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}"
)
"""The audio, and two marks after each word."""


def qwen3_asr_model(
    dtype: torch.dtype = torch.float32,
) -> transformers.Qwen3ASRForConditionalGeneration:
    """Of the shape of Qwen3-ASR, with half a million random weights that have a lot to say."""
    _start()
    model = transformers.Qwen3ASRForConditionalGeneration(_qwen3_asr_config())
    _make_talkative(model)
    model.generation_config = transformers.GenerationConfig(eos_token_id=[2], pad_token_id=0)
    return model.to(dtype).eval()


def qwen3_asr_processor(template: str = CHAT_TEMPLATE) -> transformers.Qwen3ASRProcessor:
    return transformers.Qwen3ASRProcessor(
        feature_extractor=transformers.Qwen3ASRFeatureExtractor(feature_size=128),
        tokenizer=transformers.PreTrainedTokenizerFast(
            tokenizer_object=small_tokenizer(),
            extra_special_tokens=SPECIAL,
            **ENDS,
        ),
        chat_template=template,
    )


def write_qwen3_asr(
    folder: Path, shard_bytes: int | None = None, dtype: torch.dtype = torch.bfloat16
) -> Path:
    """A folder of the shape of Qwen3-ASR, in shards if they have a size."""
    shards = {"max_shard_size": shard_bytes} if shard_bytes else {}
    qwen3_asr_model(dtype).save_pretrained(folder, **shards)
    qwen3_asr_processor().save_pretrained(folder)
    return folder


def write_aligner(folder: Path) -> Path:
    """A forced aligner of the same shape."""
    _start()
    config = _qwen3_asr_config()
    config.num_labels = 50
    model = transformers.Qwen3ASRForTokenClassification(config)
    _make_talkative(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    qwen3_asr_processor(ALIGNER_TEMPLATE).save_pretrained(folder)
    return folder


def write_whisper(folder: Path) -> Path:
    """A Whisper of the same size."""
    _start()
    config = transformers.WhisperConfig(
        vocab_size=400,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = small_tokenizer()
    tokenizer.add_special_tokens(list(WHISPER_PROMPT))
    processor = transformers.WhisperProcessor(
        feature_extractor=transformers.WhisperFeatureExtractor(),
        tokenizer=transformers.WhisperTokenizer(tokenizer_object=tokenizer),
    )
    processor.save_pretrained(folder)
    return folder


def _start() -> None:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(7)


def _make_talkative(model: transformers.PreTrainedModel) -> None:
    """Weights as they are made at first say one thing for ever."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.1 if "embed" in name else 0.5)


def _qwen3_asr_config() -> transformers.Qwen3ASRConfig:
    audio = {
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "d_model": 32,
        "output_dim": 32,
        "downsample_hidden_size": 16,
    }
    text = {
        "model_type": "qwen3",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": 296,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    return transformers.Qwen3ASRConfig(
        audio_config=audio,
        text_config=text,
        audio_token_id=4,
        pad_token_id=0,
        eos_token_id=[2],
        timestamp_token_id=7,
    )


def small_tokenizer() -> Tokenizer:
    """Byte-level, with the special tokens that the processor asks for."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<asr_text>", *SPECIAL.values()]
    special.append("<timestamp>")
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 3, trainer)
    return tokenizer


def files_in(folder: Path) -> dict[str, memoryview]:
    """As an opened pack has them."""
    return {path.name: memoryview(path.read_bytes()) for path in sorted(folder.iterdir())}
