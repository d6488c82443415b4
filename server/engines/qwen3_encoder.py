"""Log-mel spectrograms in, the language model's positions of audio out: Qwen3-ASR's encoder, by
windows.

A second is 13 positions, and attention stays within windows of 8 s. So a window is encoded by
itself, in one batch with those of other utterances, and one that is full is not encoded again when
its utterance grows: it is remembered by what is in it, bit for bit. No window can be taken for that
of another speaker, and one that a louder word later on has changed (a spectrogram's floor hangs on
its loudest bin) is another window, as it is to the model.

Weights and layers are those of transformers' model, where they lie; what is done here is attention
for many windows at once instead of one after the other.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
import transformers

from server.recognition import ModelError

_BATCH_WINDOWS = 32
"""The first convolution takes 25 MB a window."""


class WindowEncoder:
    """The encoder and the projector of one model; for one thread at a time."""

    def __init__(
        self, model: transformers.Qwen3ASRForConditionalGeneration, most_windows: int
    ) -> None:
        """`most_windows` are remembered: 0.4 MiB each (1.7B). Raises ModelError."""
        if model.dtype == torch.float16:  # transformers clamps what overflows there
            raise ModelError("Qwen3-ASR is not run in float16: set transformers.dtype")
        self._tower = model.model.audio_tower
        self._projector = model.model.multi_modal_projector
        self._chunk_frames: int = 2 * self._tower.n_window
        self._window_frames: int = self._tower.n_window_infer
        self._most_windows = most_windows
        self._remembered: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self.windows_encoded = 0
        """So far."""

    def encode(self, spectrograms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """(n_mels, n_frames) float32 in, (n_positions, hidden) out, for each."""
        with torch.inference_mode():
            return self._encode_all(spectrograms)

    def _encode_all(self, spectrograms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        cut = [spectrogram.split(self._window_frames, dim=1) for spectrogram in spectrograms]
        windows = [window for of_one in cut for window in of_one]
        names = [self._name(window) for window in windows]
        encoded = [self._remembered.get(name) if name else None for name in names]
        missing = [index for index, known in enumerate(encoded) if known is None]
        for index, new in zip(missing, self._encode([windows[i] for i in missing]), strict=True):
            encoded[index] = new
        for name, window in zip(names, encoded, strict=True):
            if name and window is not None:
                self._remember(name, window)
        rest = iter(encoded)
        return [torch.cat([next(rest) for _ in of_one]) for of_one in cut]

    def _name(self, window: torch.Tensor) -> bytes | None:
        """What is in it; None for one that is not full, which nobody asks for again."""
        if window.shape[1] < self._window_frames:
            return None
        return sha256(window.contiguous().cpu().numpy()).digest()

    def _remember(self, name: bytes, window: torch.Tensor) -> None:
        self._remembered[name] = window
        self._remembered.move_to_end(name)
        if len(self._remembered) > self._most_windows:
            self._remembered.popitem(last=False)

    def _encode(self, windows: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Like lengths together, so that little is padding."""
        order = sorted(range(len(windows)), key=lambda index: windows[index].shape[1])
        encoded: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), _BATCH_WINDOWS):
            batch = order[start : start + _BATCH_WINDOWS]
            encoded.update(zip(batch, self._encode_batch([windows[i] for i in batch]), strict=True))
        self.windows_encoded += len(windows)
        return [encoded[index] for index in range(len(windows))]

    def _encode_batch(self, windows: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        n_positions = [self._n_positions(window.shape[1]) for window in windows]
        hidden = self._convolved(windows)[:, : max(n_positions)]
        valid = torch.tensor(n_positions, device=hidden.device)[:, None]
        mask = torch.arange(hidden.shape[1], device=hidden.device) < valid
        for layer in self._tower.layers:
            hidden = _layer(layer, hidden, mask[:, None, None])
        projected = self._projector(self._tower.ln_post(hidden))
        return [row[:n] for row, n in zip(projected, n_positions, strict=True)]

    def _convolved(self, windows: Sequence[torch.Tensor]) -> torch.Tensor:
        """(n_windows, n_positions, width): each second by itself, eightfold fewer in time."""
        tower, frames = self._tower, self._chunk_frames
        n_chunks = -(-max(window.shape[1] for window in windows) // frames)
        padded = torch.stack([F.pad(w, (0, n_chunks * frames - w.shape[1])) for w in windows])
        chunks = padded.to(tower.conv2d1.weight.dtype).unflatten(2, (n_chunks, frames))
        seen = chunks.permute(0, 2, 1, 3).flatten(0, 1).unsqueeze(1)
        for convolution in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
            seen = F.gelu(convolution(seen))
        positions = tower.conv_out(seen.permute(0, 3, 1, 2).flatten(2))
        places = tower.positional_embedding.positional_embedding[: positions.shape[1]]
        return (positions + places.to(positions.dtype)).unflatten(0, (-1, n_chunks)).flatten(1, 2)

    def _n_positions(self, n_frames: int) -> int:
        n_chunks, rest = divmod(n_frames, self._chunk_frames)
        return n_chunks * _halved(self._chunk_frames) + _halved(rest)


def _layer(layer: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    """`hidden` (n_windows, n_positions, width); `mask` is true where there is audio."""
    attention = layer.self_attn
    normed = layer.self_attn_layer_norm(hidden)
    query, key, value = (
        projection(normed).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    heard = F.scaled_dot_product_attention(query, key, value, mask, scale=attention.scaling)
    hidden = hidden + attention.out_proj(heard.transpose(1, 2).flatten(2))
    normed = layer.final_layer_norm(hidden)
    return hidden + layer.fc2(layer.activation_fn(layer.fc1(normed)))


def _halved(n_frames: int) -> int:
    """Three convolutions of stride 2, each of which rounds up."""
    return -(-n_frames // 8)
