"""The session of a program that does not await."""

import gc
import threading

import pytest

from client import line
from client.blocking import connect_blocking
from client.errors import ClientError, RefusedError, SessionError, UnusableError
from server import wire
from tests.client.fake_server import (
    READY,
    TOKEN,
    deny,
    ended,
    fake_server_in_thread,
    final,
    says,
)
from tests.client.keeping_server import KeptSession, at_bytes, keeps


def open_stream(fake, token=TOKEN):
    return connect_blocking(fake.url, token=token, sample_rate_hz=16_000)


def test_a_session_goes_from_start_to_ended():
    with fake_server_in_thread(says(final(0, "Hello."))) as fake, open_stream(fake) as stream:
        stream.send(b"\x01\x02")
        stream.flush()
        stream.keep_alive()
        stream.refresh("newer")
        stream.stop()
        assert list(stream) == [final(0, "Hello."), ended()]
        assert stream.ready == READY
    (session,) = fake.sessions
    assert session.audio == b"\x01\x02"
    said = [wire.Flush(), wire.KeepAlive(), wire.Refresh("newer"), wire.Stop()]
    assert session.messages == said


def test_a_line_that_breaks_is_mended(monkeypatch):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)
    kept = KeptSession()
    with fake_server_in_thread(keeps(kept, at_bytes(1))) as fake, open_stream(fake) as stream:
        for _ in range(10):
            stream.send(bytes(640))
        stream.stop()
        assert list(stream) == kept.events
    assert kept.audio == bytes(6400)


def test_an_error_comes_out_of_the_iteration_and_of_sending():
    async def fail(session):
        await session.hear_start()
        await session.say(READY, wire.ErrorEvent("idle", "Nothing came.", False), ended("idle"))

    with fake_server_in_thread(fail) as fake, open_stream(fake) as stream:
        with pytest.raises(SessionError, match="Nothing came"):
            list(stream)
        with pytest.raises(SessionError, match="Nothing came"):
            stream.send(b"\0\0")


def test_what_goes_wrong_at_the_door_is_raised_there():
    with (
        fake_server_in_thread(denial=deny(401, b"")) as fake,
        pytest.raises(RefusedError),
        open_stream(fake),
    ):
        pytest.fail("there is no session")
    with pytest.raises(UnusableError), connect_blocking("", token=TOKEN, sample_rate_hz=16_000):
        pytest.fail("there is no session")


def test_leaving_early_closes_the_session_and_ends_the_thread():
    threads = threading.active_count()
    with fake_server_in_thread(says()) as fake:
        running = threading.active_count()
        with pytest.raises(KeyError), open_stream(fake):
            raise KeyError
        assert threading.active_count() == running
    assert threading.active_count() == threads
    assert fake.sessions[0].socket.close_code == 1000


@pytest.mark.filterwarnings("error")
def test_after_its_block_a_stream_is_over():
    with fake_server_in_thread(says()) as fake, open_stream(fake) as stream:
        pass
    for use in (lambda: next(stream), lambda: stream.send(b"\0\0"), stream.flush, stream.stop):
        with pytest.raises(SessionError) as over:
            use()
        assert over.value.code == "session_over"
    gc.collect()  # a coroutine that nobody awaited would be told of now


def test_who_still_waits_when_the_block_ends_is_told():
    told, is_waiting = [], threading.Event()

    def wait(stream):
        is_waiting.set()
        try:
            list(stream)
        except ClientError as error:
            told.append(error)

    with fake_server_in_thread(says()) as fake, open_stream(fake) as stream:
        waiter = threading.Thread(target=wait, args=(stream,))
        waiter.start()
        assert is_waiting.wait(10)
    waiter.join(10)
    assert len(told) == 1


async def test_it_works_where_an_event_loop_runs_already():
    with fake_server_in_thread(says()) as fake, open_stream(fake) as stream:
        stream.stop()
        assert list(stream) == [ended()]


def test_two_threads_may_share_the_work():
    with fake_server_in_thread(says(final(0, "Hello."))) as fake, open_stream(fake) as stream:

        def talk():
            for _ in range(20):
                stream.send(bytes(640))
            stream.stop()

        talker = threading.Thread(target=talk)
        talker.start()
        assert list(stream) == [final(0, "Hello."), ended()]
        talker.join()
    assert fake.sessions[0].audio == bytes(12_800)
