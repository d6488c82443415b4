"""Connections in, places or closed doors out; and an orderly end."""

import asyncio
import logging
import resource
import signal
import socket

import pytest
from structlog.testing import capture_logs

from server.listen_settings import ListenSettings
from server.listener import Listener, bind, url_of
from server.start_error import EXIT_PORT, StartError
from server.tls import Certificate
from tests.server.certificates import make_pair
from tests.server.listening import Site, listening

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def is_answered(here, source="127.0.0.1") -> bool:
    return b"hello" in await here.ask(HELLO, source=source)


async def test_one_address_cannot_take_all_places():
    async with listening(connections_per_address=3, uncounted=()) as here:
        for _ in range(3):
            await here.peer(source="127.0.0.2")
        await here.until(lambda: here.listener.crowd.total == 3)
        with capture_logs() as logs:
            for _ in range(5):
                assert not await is_answered(here, "127.0.0.2")
        assert await is_answered(here, "127.0.0.3")
        [line] = logs
        assert (line["event"], line["client"]) == ("connections refused", "127.0.0.2")
        assert here.listener.crowd.n_refused == 5
        here.peers[0].writer.transport.abort()
        await here.until(lambda: here.listener.crowd.total == 2)
        assert await is_answered(here, "127.0.0.2")


async def test_all_together_take_no_more_places_than_there_are():
    async with listening(most_connections=2) as here:
        await here.peer()
        await here.peer()
        await here.until(lambda: here.listener.crowd.total == 2)
        assert not await is_answered(here)


async def test_proxies_and_those_that_are_named_are_not_counted():
    limits = {"connections_per_address": 0, "uncounted": ("127.0.0.2",)}
    async with listening(trusted_proxies=("127.0.0.3",), **limits) as here:
        assert await is_answered(here, "127.0.0.2")
        assert await is_answered(here, "127.0.0.3")
        assert not await is_answered(here, "127.0.0.4")


async def test_places_are_given_back_whatever_became_of_the_connection(tmp_path):
    certificate = Certificate(*make_pair(tmp_path))
    async with listening(certificate, connections_per_address=2, uncounted=()) as here:
        for _ in range(6):
            await here.ask(b"no TLS")
            await here.until(lambda: here.listener.crowd.total == 0)
        assert here.listener.crowd.n_refused == 0


async def test_more_may_come_at_once_than_are_accepted_in_one_go():
    async with listening() as here:
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(is_answered(here)) for _ in range(200)]
        assert all(task.result() for task in asking)


async def test_when_no_connection_can_be_accepted_it_is_tried_again():
    class FailingSocket(socket.socket):
        n_failures = 2

        def accept(self):
            if self.n_failures:
                self.n_failures -= 1
                raise OSError(24, "Too many open files")
            return super().accept()

    settings = ListenSettings(port=0)
    with bind(settings) as bound, FailingSocket(fileno=bound.detach()) as failing:

        async def drain() -> bool:
            return True

        listener = Listener(Site().app(), settings, drain)
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
            serving = tasks.create_task(listener.serve([failing]))
            reader, writer = await asyncio.open_connection(*failing.getsockname())
            writer.write(HELLO)
            assert b"hello" in await reader.read()
            writer.close()
            listener.should_exit = True
            await serving


async def test_sessions_that_do_not_end_in_time_are_told_of():
    async def drain() -> bool:
        return False

    settings = ListenSettings(port=0)
    with bind(settings) as bound, capture_logs() as logs:
        listener = Listener(Site().app(), settings, drain)
        listener.should_exit = True
        await listener.serve([bound])
    assert [line["event"] for line in logs] == ["some sessions did not end in time"]


async def test_a_listener_of_nothing_ends_too():
    async def drain() -> bool:
        return True

    listener = Listener(Site().app(), ListenSettings(), drain)
    listener.should_exit = True
    await listener.serve()


async def test_signals_end_the_server_and_not_the_process():
    async with listening() as here:
        before = signal.getsignal(signal.SIGTERM)
        with here.listener.stopped_by_signals():
            signal.raise_signal(signal.SIGTERM)
        assert here.listener.should_exit
        assert signal.getsignal(signal.SIGTERM) is before


async def test_in_another_thread_signals_are_left_alone():
    async with listening() as here:

        def handler_within():
            with here.listener.stopped_by_signals():
                return signal.getsignal(signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        assert await asyncio.to_thread(handler_within) is before


def test_a_fault_in_uvicorn_is_logged_by_its_type_alone(caplog):
    async def make() -> None:
        async def drain() -> bool:
            return True

        Listener(Site().app(), ListenSettings(), drain)

    asyncio.run(make())
    log = logging.getLogger("uvicorn.error")
    try:
        raise LookupError("words of a caller")
    except LookupError:
        log.exception("Exception in ASGI application\n")
    log.warning("Invalid HTTP request received.")
    log.warning("Something %s", "else", exc_info=(None, None, None))
    assert "words of a caller" not in caplog.text
    assert "Exception in ASGI application" in caplog.messages[0]
    assert "(LookupError)" in caplog.messages[0]
    assert caplog.messages[1:] == ["Something else"]


@pytest.mark.parametrize(
    ("host", "port", "scheme", "url"),
    [
        ("127.0.0.1", 8765, "http", "http://127.0.0.1:8765"),
        ("::1", 8765, "http", "http://[::1]:8765"),
        ("LocalHost", 80, "http", "http://localhost"),
        ("LocalHost", 443, "https", "https://localhost"),
        ("LocalHost", 80, "https", "https://localhost:80"),
    ],
)
def test_the_address_is_spelled_as_browsers_spell_an_origin(host, port, scheme, url):
    assert url_of(host, port, scheme) == url


@pytest.mark.parametrize("host", ["a" * 80, "300.300.300.300", "no-such-machine.invalid"])
def test_a_host_that_is_none_is_told(host):
    with pytest.raises(StartError) as fault:
        bind(ListenSettings(host=host, port=0))
    assert fault.value.exit_code == EXIT_PORT


@pytest.fixture
def file_limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_there_are_descriptors_for_as_many_connections_as_are_set(file_limits):
    file_limits(1000)
    async with listening(most_connections=2000):
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 2000


async def test_where_the_system_allows_fewer_connections_it_is_told():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capture_logs() as logs:
        async with listening(most_connections=most) as here:
            assert await is_answered(here)
    assert [line["room"] for line in logs] == [most]
