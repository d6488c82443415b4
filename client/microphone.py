"""A recorder's command in; blocks of 20 ms of what it hears out, for as long as it is wanted.

Only what the program writes is read; it ends with the source. One that gives up before it heard
anything is a `SourceError` with its own last words. One that gives up later, because the device was
unplugged, ends the audio as if it had been closed, so that nothing said is lost, and `complaint`
tells why.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePath

from client.errors import SourceError, clean_text
from client.recorders import SAMPLE_RATE_HZ
from client.sources import PipeSource

MOST_LAST_WORDS_BYTES = 2_000
END_TIMEOUT_S = 2.0

_PIPE_BYTES = 65_536


class MicrophoneSource:
    """What a recorder hears, from the first block that is asked for."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, command: Sequence[str]) -> None:
        self.complaint: str | None = None
        """Why the recorder gave up, once it did."""
        self._command = command
        self._name = PurePath(command[0]).name
        self._is_closed = False
        self._pipe: PipeSource | None = None

    def __iter__(self) -> Iterator[bytes]:
        """The blocks, once. Raises SourceError if nothing at all was heard."""
        has_heard = False
        with _recording(self._command, self._name) as (audio, last_words):
            self._pipe = PipeSource(audio, self.sample_rate_hz)
            if self._is_closed:
                self._pipe.close()
            for block in self._pipe:
                has_heard = True
                last_words.listen()
                yield block
        if self._is_closed:
            return
        self.complaint = f"{self._name} gave up: {last_words.text}"
        if not has_heard:
            raise SourceError(self.complaint)

    def close(self) -> None:
        """End the recorder and the iteration; a silent one within POLL_S."""
        self._is_closed = True
        if self._pipe is not None:
            self._pipe.close()


class _LastWords:
    """What a program wrote last to its standard error, which is not left to fill up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._said = b""
        os.set_blocking(descriptor, False)

    @property
    def text(self) -> str:
        """Its last line, fit to be shown."""
        lines = self._said.decode(errors="replace").strip().splitlines()
        return clean_text(lines[-1]) if lines else "it does not say why"

    def listen(self) -> None:
        """Take all that is there."""
        with suppress(BlockingIOError):
            while said := os.read(self._descriptor, _PIPE_BYTES):
                self._said = (self._said + said)[-MOST_LAST_WORDS_BYTES:]


@contextmanager
def _recording(command: Sequence[str], name: str) -> Iterator[tuple[int, _LastWords]]:
    """The descriptor of a recorder's audio, while the recorder runs."""
    try:
        process = subprocess.Popen(  # noqa: S603 a known recorder, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, and we end it
        )
    except OSError as error:
        reason = (error.strerror or "cannot be run").lower()
        raise SourceError(f"{name} could not be run: {reason}.") from None
    audio, words = process.stdout, process.stderr
    with process:
        if audio is None or words is None:
            raise SourceError(f"{name} has no output.")
        last_words = _LastWords(words.fileno())
        try:
            yield audio.fileno(), last_words
        finally:
            process.terminate()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            last_words.listen()
