"""Clips in, log-mel spectrograms out, many clips at once on the device of the model.

Each clip's is what transformers' `Qwen3ASRFeatureExtractor` makes of it alone: a clip's end is
reflected and not joined to the padding of its batch, and its loudest bin is its own. 128 bins,
windows of 25 ms every 10 ms.
"""

from collections.abc import Sequence

import torch
import transformers

from server.recognition import ModelError, Samples

_FLOOR = 1e-10
_RANGE = 8.0
"""In powers of ten: what is further below a clip's loudest bin counts as that."""


class LogMel:
    """The extractor of one model, on one device."""

    def __init__(
        self, extractor: transformers.Qwen3ASRFeatureExtractor, device: torch.device
    ) -> None:
        if extractor.dither or extractor.sampling_rate != 16_000:
            raise ModelError("the feature extractor of the pack is not that of Qwen3-ASR")
        self._n_fft: int = extractor.n_fft
        self._hop: int = extractor.hop_length
        self._least_samples: int = max(extractor.min_length, extractor.n_fft)
        self._window = torch.hann_window(self._n_fft, device=device)
        filters = torch.from_numpy(extractor.mel_filters)
        self._filters = filters.to(device, torch.float32).T.contiguous()
        self._device = device

    def of(self, clips: Sequence[Samples]) -> list[torch.Tensor]:
        """(n_mels, n_frames) float32 for each clip; padded to half a second at least."""
        padded, n_frames = self._padded(clips)
        spectrum = torch.stft(
            padded, self._n_fft, self._hop, window=self._window, center=False, return_complex=True
        )
        log = (self._filters @ (spectrum.abs() ** 2)).clamp(min=_FLOOR).log10()
        return [_scaled(row[:, :n]) for row, n in zip(log, n_frames, strict=True)]

    def _padded(self, clips: Sequence[Samples]) -> tuple[torch.Tensor, list[int]]:
        lengths = [max(clip.size, self._least_samples) for clip in clips]
        edge = self._n_fft // 2
        rows = torch.zeros(len(clips), max(lengths) + 2 * edge)
        for row, clip, n_samples in zip(rows, clips, lengths, strict=True):
            row[edge : edge + clip.size] = torch.from_numpy(clip)
            inner = row[edge : edge + n_samples]
            row[:edge] = inner[1 : edge + 1].flip(0)
            row[edge + n_samples : 2 * edge + n_samples] = inner[-edge - 1 : -1].flip(0)
        return rows.to(self._device), [n_samples // self._hop for n_samples in lengths]


def _scaled(log: torch.Tensor) -> torch.Tensor:
    return (torch.maximum(log, log.max() - _RANGE) + 4.0) / 4.0
