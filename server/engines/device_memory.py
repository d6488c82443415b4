"""Verified segments in; one tensor on a GPU out, filled while the next segments are opened.

A GPU's memory cannot be written from here, so each thread opens into a few small buffers of its own
in turn and sends each on its way once its tag is verified; a buffer is used again only when its
copy is done. The buffers are pinned, so that the copies run beside the cipher, on a stream of
their own, and hold plain weights only for so long: they are wiped at the end. A processor in the
place of a GPU is served the same way, for tests.
"""

from dataclasses import dataclass
from threading import Lock, get_ident

import torch

SLOT_BYTES = 1 << 20
"""No smaller than a segment's plain bytes."""
_SLOTS = 4
"""For each thread: one being opened, the others on their way."""


@dataclass(slots=True)
class _Slot:
    """A buffer and the copy that last left it."""

    buffer: torch.Tensor
    sent: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Until the buffer may be written."""
        if self.sent is not None:
            self.sent.synchronize()


class DeviceMemory:
    """`n_bytes` on `device`; a `Destination` of opened weights."""

    def __init__(self, n_bytes: int, device: torch.device) -> None:
        self.tensor = torch.empty(n_bytes, dtype=torch.uint8, device=device)
        """(n_bytes,) uint8; whole after `finish`."""
        self._is_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._is_gpu else None
        if self._stream is not None:  # pragma: no cover - needs a GPU
            # the memory may have been another tensor's, which queued work still reads
            self._stream.wait_stream(torch.cuda.current_stream(device))
        self._rings: dict[int, list[_Slot]] = {}
        self._lock = Lock()

    def buffer(self, start: int, end: int) -> memoryview:
        """See `Destination`."""
        ring = self._ring()
        ring.append(ring.pop(0))
        ring[-1].wait()
        return memoryview(ring[-1].buffer.numpy())[: end - start]

    def deliver(self, start: int, end: int) -> None:
        """See `Destination`."""
        slot = self._ring()[-1]
        source = slot.buffer[: end - start]
        if self._stream is None:
            self.tensor[start:end].copy_(source)
            return
        with torch.cuda.stream(self._stream):  # pragma: no cover - needs a GPU
            self.tensor[start:end].copy_(source, non_blocking=True)
            slot.sent = self._stream.record_event()

    def finish(self) -> torch.Tensor:
        """The tensor, once all of it is there; the buffers are wiped."""
        for ring in self._rings.values():
            for slot in ring:
                slot.wait()
                slot.buffer.zero_()
        self._rings.clear()
        return self.tensor

    def wipe(self) -> None:
        """See `Destination`."""
        self.finish().zero_()

    def _ring(self) -> list[_Slot]:
        """This thread's slots, the one in use last."""
        with self._lock:
            if (ring := self._rings.get(get_ident())) is None:
                ring = [_Slot(self._pinned()) for _ in range(_SLOTS)]
                self._rings[get_ident()] = ring
            return ring

    def _pinned(self) -> torch.Tensor:
        return torch.empty(SLOT_BYTES, dtype=torch.uint8, pin_memory=self._is_gpu)
