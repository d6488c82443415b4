"""A step of a decoder in, the same step as recorded work of a GPU out.

A step of a large decoder is some four hundred small pieces of work, which a GPU does faster than
they can be handed to it one by one. So they are recorded once for each number of rows, rounded up
to a power of two, and each number of places, and replayed as one. What a step reads and writes must
lie where it lay when it was recorded. On a processor there is nothing to record: the step is
computed.
"""

from collections.abc import Callable

import torch

Step = Callable[[int, int], torch.Tensor]
"""For a number of rows and of places: what the step gives, with a column for each row."""
_WARM_UPS = 2


class StepGraphs:
    """The recordings of one step; for one thread at a time."""

    def __init__(self, step: Step, device: torch.device, most_rows: int) -> None:
        self._step = step
        self._is_gpu = device.type == "cuda"
        self._most_rows = most_rows
        self._recorded: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self._pool: tuple[int, int] | None = None
        """Of memory: recordings are replayed one after the other, so they can share it."""

    def run(self, n_rows: int, n_places: int) -> torch.Tensor:
        """The step; what it gives is valid until the next one."""
        if not self._is_gpu:
            return self._step(n_rows, n_places)
        return self._replay(n_rows, n_places)  # pragma: no cover - needs a GPU

    def prepare(self, n_places: int) -> None:
        """Record every number of rows for up to `n_places`, so that nobody waits for it later."""
        if self._is_gpu:  # pragma: no cover - needs a GPU
            for n_rows in {self._rounded(1 << power) for power in range(12)}:
                self._replay(n_rows, n_places)

    def _rounded(self, n_rows: int) -> int:
        return min(1 << (n_rows - 1).bit_length(), self._most_rows)

    def _replay(self, n_rows: int, n_places: int) -> torch.Tensor:  # pragma: no cover - needs a GPU
        size = (self._rounded(n_rows), n_places)
        if size not in self._recorded:
            self._recorded[size] = self._record(*size)
        graph, given = self._recorded[size]
        graph.replay()
        return given[:, :n_rows]

    def _record(
        self, n_rows: int, n_places: int
    ) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:  # pragma: no cover - needs a GPU
        """As PyTorch's documentation has it: warmed up on a side stream, then captured there."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._step(n_rows, n_places)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # other threads may ask the GPU for memory meanwhile: their calls are not this graph's
        with torch.cuda.graph(
            graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
        ):
            given = self._step(n_rows, n_places)
        self._pool = graph.pool()
        return graph, given
