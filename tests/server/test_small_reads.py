"""A socket's bytes in, small pieces of them out."""

import pytest

from server.small_reads import READ_BYTES, SmallReads


class Listener(SmallReads):
    def __init__(self):
        self.heard = []

    def data_received(self, data):
        self.heard.append(data)


def receive(protocol, data):
    buffer = protocol.get_buffer(-1)
    buffer[: len(data)] = data
    protocol.buffer_updated(len(data))


def test_what_was_read_is_handed_on_and_not_kept():
    protocol = Listener()
    receive(protocol, b"one")
    receive(protocol, b"three")
    assert protocol.heard == [b"one", b"three"]
    assert len(protocol._buffer) == 0


def test_what_is_written_through_slices_of_the_buffer_is_read():
    protocol = Listener()
    buffer = protocol.get_buffer(-1)
    buffer[:3][:] = b"one"
    buffer[3:][:3] = b"two"
    protocol.buffer_updated(6)
    assert protocol.heard == [b"onetwo"]


def test_no_more_is_read_at_a_time_whatever_is_suggested():
    assert len(Listener().get_buffer(1 << 20)) == READ_BYTES


def test_a_protocol_says_itself_what_it_does():
    with pytest.raises(NotImplementedError):
        receive(SmallReads(), b"x")
