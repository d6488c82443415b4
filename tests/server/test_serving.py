"""What the server opens, in which order, and what it leaves behind."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from security.keys import open_signing_key
from security.tokens import mint_token
from server.config import Settings, load_settings
from server.provision import seal
from server.serving import Running, running_server
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_MODEL, EXIT_PORT, StartError
from server.wire import Ended, Final, Partial, decode_server_event
from tests.e2e.conftest import copy_data
from tests.e2e.test_stream import pcm_of, words_of
from tests.fakes import START
from tests.server.certificates import make_pair, trusting
from tests.server.commands import spoil_trail
from tests.trail_rows import trail_rows


@pytest.fixture
def settings(embedded_model_pack, tmp_path) -> Settings:
    copy_data(embedded_model_pack, tmp_path / "data")
    return load_settings(data_folder=tmp_path / "data", listen={"port": 0})


def token_of(settings: Settings) -> str:
    wall_s = time.time()  # noqa: TID251 (the server lives by it)
    key = open_signing_key(settings.signing_key_file)
    given = {"subject": "alice", "scopes": {"transcribe"}, "lifetime_s": 600, "wall_s": wall_s}
    return mint_token(key, settings.token_policy, **given)


async def rows(settings: Settings) -> list[tuple[str, str | None]]:
    """Behind the first, which every trail has."""
    began, *others = await trail_rows(settings.trail)
    assert began.event == "trail.began"
    return [(row.event, row.reason) for row in others]


async def start_fault(settings: Settings) -> StartError:
    with pytest.raises(StartError) as fault:
        async with asyncio.timeout(60), running_server(settings):
            raise AssertionError("it started")
    assert "\n" not in str(fault.value)
    return fault.value


async def test_the_trail_frames_what_the_server_did(settings):
    async with asyncio.timeout(60), running_server(settings) as running:
        host, port = running.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    assert [event for event, _ in await rows(settings)] == [
        "model.opened",
        "server.started",
        "server.configured",
        "server.stopped",
    ]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_a_server_that_was_killed_is_told_before_the_next_one_starts(settings):
    async with await AuditStore.open(settings.trail, time.time_ns) as store:
        await store.record(ServerStarted("0.1"))
    async with asyncio.timeout(60), running_server(settings):
        pass
    events = [event for event, _ in await rows(settings)]
    assert events[1:4] == ["model.opened", "server.found_killed", "server.started"]


async def test_a_fault_of_who_started_it_still_ends_the_trail(settings):
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.timeout(60), running_server(settings):
            raise ValueError("x")
    assert group.group_contains(ValueError)
    assert (await rows(settings))[-1][0] == "server.stopped"


@pytest.mark.parametrize("vad", ["silero", "webrtc"])
async def test_a_session_gets_its_last_words_when_the_server_stops(
    settings, english_recordings, vad
):
    settings = load_settings(data_folder=settings.data_folder, listen={"port": 0}, vad=vad)
    headers = {"Authorization": f"Bearer {token_of(settings)}"}
    async with asyncio.timeout(60), AsyncExitStack() as peer:
        async with running_server(settings) as running:
            url = running.url.replace("http", "ws", 1) + "/v1/stream"
            websocket = await peer.enter_async_context(
                websockets.connect(url, additional_headers=headers, proxy=None)
            )
            await websocket.send(START)
            await websocket.send(pcm_of(english_recordings[1]))
            while not isinstance(decode_server_event(await websocket.recv()), Partial):
                pass
        events = [decode_server_event(frame) async for frame in closing(websocket)]
    assert any(event.text for event in events if isinstance(event, Final))
    assert isinstance(events[-1], Ended)
    assert (events[-1].reason, websocket.close_code) == ("shutting_down", 1012)
    assert (await rows(settings))[-2:] == [
        ("session.ended", "shutting_down"),
        ("server.stopped", "stopped"),
    ]


async def closing(websocket) -> AsyncIterator[str]:
    """What still comes until the connection is closed."""
    with suppress(ConnectionClosed):
        while True:
            yield await websocket.recv()


async def test_the_page_may_come_from_each_name_of_this_machine_and_from_no_other_port(settings):
    async with asyncio.timeout(60), running_server(settings) as running:
        own = running.url
        for origin in (own, own.replace("127.0.0.1", "localhost")):
            assert await status_of(settings, running, origin) == 101
        assert await status_of(settings, running, "http://localhost:1") == 403


async def status_of(settings: Settings, running: Running, origin: str, **given) -> int:
    headers = {"Authorization": f"Bearer {token_of(settings)}"}
    url = running.url.replace("http", "ws", 1) + "/v1/stream"
    try:
        async with websockets.connect(
            url, additional_headers=headers, origin=origin, proxy=None, **given
        ) as websocket:
            return websocket.response.status_code
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_a_server_that_cannot_start_lets_go_of_its_port(settings):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (settings.pack_folder / "manifest.json").unlink()
    settings = load_settings(data_folder=settings.data_folder, listen={"port": port})
    fault = await start_fault(settings)
    assert fault.exit_code == EXIT_MODEL
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_pack_that_does_not_open_is_on_record(settings):
    (settings.pack_folder / "manifest.json").write_text("{}")
    assert (await start_fault(settings)).exit_code == EXIT_MODEL
    [(event, reason)] = await rows(settings)
    assert event == "model.refused"
    assert reason


async def test_a_pack_for_another_engine_is_no_model(settings):
    settings = load_settings(data_folder=settings.data_folder, listen={"port": 0}, model="other")
    seal(settings, engine="another", version=1, files={"weights": b"x"})
    fault = await start_fault(settings)
    assert (fault.exit_code, "another" in str(fault)) == (EXIT_MODEL, True)
    assert await rows(settings) == [("model.refused", "not_a_model")]


@pytest.mark.parametrize("name", ["pack.key", "signing.pem.pub"])
async def test_a_key_that_is_not_there_is_told(settings, name):
    (settings.keys_folder / name).unlink()
    fault = await start_fault(settings)
    assert (fault.exit_code, name in str(fault)) == (EXIT_KEYS, True)


async def test_a_trail_that_is_none_is_told(settings):
    spoil_trail(settings)
    assert (await start_fault(settings)).exit_code == EXIT_DATA


@pytest.mark.parametrize("host", ["a" * 80, "300.300.300.300", "no-such-machine.invalid"])
async def test_a_host_that_is_none_is_told(settings, host):
    settings = load_settings(data_folder=settings.data_folder, listen={"port": 0, "host": host})
    assert (await start_fault(settings)).exit_code == EXIT_PORT


async def test_with_a_certificate_the_page_and_the_stream_come_by_tls(settings, tmp_path):
    cert_file, key_file = make_pair(tmp_path)
    listen = {"port": 0, "tls_cert": cert_file, "tls_key": key_file}
    settings = load_settings(data_folder=settings.data_folder, listen=listen)
    async with asyncio.timeout(60), running_server(settings) as running:
        assert running.url.startswith("https://127.0.0.1:")
        tls = trusting(cert_file)
        assert await status_of(settings, running, running.url, ssl=tls) == 101
        assert await status_of(settings, running, "http" + running.url[5:], ssl=tls) == 403


async def test_audio_comes_whole_by_tls_however_many_records_come_at_a_time(
    settings, tmp_path, english_recordings
):
    cert_file, key_file = make_pair(tmp_path)
    listen = {"port": 0, "tls_cert": cert_file, "tls_key": key_file}
    settings = load_settings(data_folder=settings.data_folder, listen=listen)
    headers = {"Authorization": f"Bearer {token_of(settings)}"}
    pcm = pcm_of(english_recordings[1])
    async with asyncio.timeout(60), running_server(settings) as running:
        url = running.url.replace("http", "ws", 1) + "/v1/stream"
        async with websockets.connect(
            url, additional_headers=headers, proxy=None, ssl=trusting(cert_file)
        ) as websocket:
            await websocket.send(START)
            for start in range(0, len(pcm), 640):  # many small records in each segment
                await websocket.send(pcm[start : start + 640])
            await websocket.send('{"type":"stop"}')
            events = [decode_server_event(frame) async for frame in closing(websocket)]
    said = " ".join(event.text for event in events if isinstance(event, Final))
    assert words_of(said) == words_of(english_recordings[1].text)
    assert events[-1].usage.bytes == len(pcm)


async def test_a_key_that_others_can_read_is_told(settings, tmp_path):
    cert_file, key_file = make_pair(tmp_path)
    key_file.chmod(0o644)
    listen = {"port": 0, "tls_cert": cert_file, "tls_key": key_file}
    settings = load_settings(data_folder=settings.data_folder, listen=listen)
    fault = await start_fault(settings)
    assert (fault.exit_code, "chmod 600" in str(fault)) == (EXIT_KEYS, True)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1/healthz?", "[::1"])
async def test_the_name_by_which_it_was_called_decides_nothing(settings, host):
    async with asyncio.timeout(60), running_server(settings) as running:
        for path, status in (("/v1/whoami", b"403"), ("/", b"200"), ("/nothing/", b"404")):
            reader, writer = await asyncio.open_connection(*running.url[7:].split(":"))
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
            writer.write(f"{request}Connection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.split(b" ")[1] == status
            assert b"location:" not in answer.lower()
            assert host.encode() not in answer


async def test_refusals_that_were_counted_are_on_record_when_the_server_stops(settings):
    async with asyncio.timeout(60), running_server(settings) as running:
        for _ in range(23):
            assert await status_of(settings, running, "http://localhost:1") == 403
    told = [event for event, _ in await rows(settings)]
    assert told.count("handshake.refused") == 20
    assert told[-2:] == ["handshake.refused_often", "server.stopped"]


async def test_a_session_names_the_pack_and_the_key_that_opened_it(settings):
    async with asyncio.timeout(60), running_server(settings) as running:
        assert await status_of(settings, running, running.url) == 101
        [started] = await trail_rows(settings.trail, event="session.started")
        [opened] = await trail_rows(settings.trail, event="model.opened")
    assert started.detail["kek"] == opened.detail["kek"]
    assert started.detail["pack_version"] == opened.detail["pack_version"]
