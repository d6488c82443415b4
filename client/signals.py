"""Ctrl-C or SIGTERM in; a task that stops, or is cancelled where it expects that, out."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def heeded(stop: Callable[[signal.Signals], bool] = lambda _: False) -> Iterator[None]:
    """For a block of the running task. The first signal calls `stop`; if that says that there was
    nothing to stop, and at the next signal, the task is cancelled.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    is_stopping = False

    def receive(number: signal.Signals) -> None:
        nonlocal is_stopping
        if not is_stopping and stop(number):
            is_stopping = True
        elif task is not None:
            task.cancel()

    with suppress(NotImplementedError):  # Windows
        for number in SIGNALS:
            loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for number in SIGNALS:
                loop.remove_signal_handler(number)
