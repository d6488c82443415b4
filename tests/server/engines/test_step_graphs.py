"""A step without a GPU."""

import pytest

torch = pytest.importorskip("torch")

from server.engines.step_graphs import StepGraphs  # noqa: E402


def test_without_a_gpu_a_step_is_computed_for_the_rows_there_are():
    asked = []

    def step(n_rows, n_places):
        asked.append((n_rows, n_places))
        return torch.zeros(2, n_rows)

    steps = StepGraphs(step, torch.device("cpu"), most_rows=64)
    steps.prepare(128)
    assert steps.run(5, 128).shape == (2, 5)
    assert asked == [(5, 128)]
