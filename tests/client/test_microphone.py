"""Recorders that are played by small programs."""

import sys
import threading
import time

import pytest

from client.errors import SourceError
from client.microphone import MicrophoneSource

HEARS_ON = "import sys, time\nwhile True: sys.stdout.buffer.write(bytes(640)); sys.stdout.flush(); "


def recorder(program):
    return MicrophoneSource([sys.executable, "-c", program])


def test_what_it_hears_comes_in_blocks_until_it_is_closed():
    source = recorder(HEARS_ON + "time.sleep(0.005)")
    blocks = iter(source)
    assert [len(next(blocks)) for _ in range(5)] == [640] * 5
    source.close()
    assert len(list(blocks)) <= 5
    assert source.complaint is None


def test_closing_a_silent_recorder_ends_it():
    source = recorder("import time; time.sleep(60)")
    closer = threading.Timer(0.2, source.close)
    closer.start()
    began_s = time.monotonic()
    assert list(source) == []
    assert time.monotonic() - began_s < 5
    closer.join()


def test_one_that_was_closed_before_it_began_hears_nothing():
    source = recorder(HEARS_ON)
    source.close()
    assert list(source) == []


def test_leaving_the_iteration_ends_the_recorder():
    blocks = iter(recorder(HEARS_ON))
    next(blocks)
    blocks.close()


def test_one_that_will_not_end_is_ended():
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HEARS_ON
    source = recorder(stubborn)
    blocks = iter(source)
    next(blocks)
    source.close()
    list(blocks)


def test_one_that_never_heard_anything_is_an_error_with_its_last_words():
    program = "import sys; sys.exit('main:850: audio open error:\\n\\x1b[1mNo such device\\n')"
    with pytest.raises(SourceError, match=r"python\S* gave up: \[1mNo such device$"):
        list(recorder(program))


def test_one_that_gives_up_later_ends_the_audio_and_tells_why():
    source = recorder("import sys; sys.stdout.buffer.write(bytes(1280)); sys.exit('unplugged')")
    assert len(b"".join(source)) == 1280
    assert source.complaint.endswith("gave up: unplugged")
    silent = recorder("print('a' * 1279)")
    list(silent)
    assert silent.complaint.endswith("it does not say why")


def test_one_that_talks_all_the_time_is_listened_to():
    program = HEARS_ON + "sys.stderr.write('overrun!!! ' * 500)"
    source = recorder(program)
    blocks = iter(source)
    for _ in range(50):
        next(blocks)
    source.close()
    list(blocks)


def test_a_recorder_that_is_not_there_is_an_error():
    with pytest.raises(SourceError, match="no-such-recorder could not be run: no such file"):
        list(MicrophoneSource(["no-such-recorder"]))
