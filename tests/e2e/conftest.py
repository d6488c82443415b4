"""A real server with a real sealed model, on loopback, for as long as the tests run."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from security.audit import AuditRecord
from security.keys import open_signing_key
from security.tokens import mint_token
from server.config import Settings, load_settings
from server.serving import Running, running_server
from tests.canaries import Canaries
from tests.trail_rows import trail_rows


@dataclass
class LiveServer:
    """A server in a thread of its own."""

    settings: Settings
    running: Running
    loop: asyncio.AbstractEventLoop
    mark: Callable[[str], str] = str
    """Is shown every token, and gives it back."""

    @property
    def page_url(self) -> str:
        return self.running.url

    @property
    def stream_url(self) -> str:
        return self.running.url.replace("http", "ws", 1) + "/v1/stream"

    def token(self, **given) -> str:
        wall_s = time.time() + given.pop("age_s", 0)  # noqa: TID251 (the server lives by it)
        scopes = given.pop("scopes", {"transcribe"})
        policy = given.pop("policy", self.settings.token_policy)
        claims = {"subject": "alice", "lifetime_s": 600, **given}
        key = open_signing_key(self.settings.signing_key_file)
        return self.mark(mint_token(key, policy, scopes=scopes, wall_s=wall_s, **claims))

    def trail(self, **query) -> list[AuditRecord]:
        reading = trail_rows(self.settings.trail, **query)
        return asyncio.run_coroutine_threadsafe(reading, self.loop).result(10)

    def last_row(self, event: str) -> AuditRecord:
        return self.trail(event=event)[-1]


@pytest.fixture(scope="session")
def live_server(
    embedded_model_pack: Settings,
    tmp_path_factory: pytest.TempPathFactory,
    canaries: Canaries,
) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("live") / "data"
    copy_data(embedded_model_pack, folder)
    listen = {"port": 0, "access_log": False}
    refusals = {"rows_per_minute": 2000, "most_rows_per_minute": 20_000}  # each is looked for
    settings = load_settings(data_folder=folder, listen=listen, refusals=refusals)
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


@contextmanager
def serving(settings: Settings) -> Iterator[LiveServer]:
    """A server of these settings."""
    started, stop = threading.Event(), asyncio.Event()
    servers: list[LiveServer] = []

    async def serve() -> None:
        async with running_server(settings) as running:
            servers.append(LiveServer(settings, running, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(60)
        yield servers[0]
    finally:
        servers[0].loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        assert not thread.is_alive()


def copy_data(settings: Settings, folder: Path) -> None:
    """Keys and pack, without the trail."""
    shutil.copytree(settings.keys_folder, folder / "keys")
    shutil.copytree(settings.pack_folder, folder / "models" / settings.model)


@pytest.fixture(params=["hello_world", "quick_brown_fox"])
def recording(request, english_recordings):
    return next(r for r in english_recordings if r.name == request.param)


@pytest.fixture
def fox(english_recordings):
    return next(r for r in english_recordings if r.name == "quick_brown_fox")
