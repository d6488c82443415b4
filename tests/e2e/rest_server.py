"""A server of one-shot requests alone, with the real model, door, scheduler and trail.

Run as a program, it serves the settings of the environment until it is told to stop.
"""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette

from security.audit_store import AuditStore
from security.keys import open_verifying_key
from security.tokens import TokenVerifier
from server.config import Settings, load_settings
from server.door import Door
from server.live import LiveSessions
from server.opening import Opening, open_engine
from server.rest import RestSettings, rest_routes
from server.scheduler import Scheduler
from server.serving import Running
from server.vad import SileroDetector, SileroNetwork
from tests.e2e.conftest import LiveServer
from tests.one_shots import JoinedOneShots


@asynccontextmanager
async def running_rest(settings: Settings, rest: RestSettings) -> AsyncIterator[Running]:
    public = settings.signing_key_file.with_name(settings.signing_key_file.name + ".pub")
    verifier = TokenVerifier(settings.token_policy, open_verifying_key(public))
    network = SileroNetwork()
    async with await AuditStore.open(settings.audit_file, time.time_ns) as store:
        engine = await open_engine(settings, store, Opening())

        async def reopen(_reason):
            return await open_engine(settings, store, Opening())

        scheduler = Scheduler(engine, settings.scheduler, reopen, time.monotonic)
        shots = JoinedOneShots(
            door=Door(verifier, frozenset()),
            live=LiveSessions(64),
            transcriber=scheduler,
            new_detector=lambda: SileroDetector(network),
            record=store.record,
            model=engine.card,
            wall_clock=time.time,  # noqa: TID251 (the server lives by it)
        )
        config = uvicorn.Config(
            Starlette(routes=rest_routes(shots, engine.card, rest)),
            port=0,
            http="h11",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        async with asyncio.TaskGroup() as tasks:
            engine_task = tasks.create_task(scheduler.run())
            serving = tasks.create_task(server._serve())
            while not server.started:  # noqa: ASYNC110 (it knows no events)
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]

            async def until_stopped() -> None:
                await asyncio.wait([serving])

            try:
                yield Running(f"http://127.0.0.1:{port}", store, until_stopped)
            finally:
                server.should_exit = True
                await asyncio.wait([serving])
                engine_task.cancel()


@contextmanager
def serving_rest(settings: Settings, rest: RestSettings) -> Iterator[LiveServer]:
    """In a thread of its own."""
    started, stop = threading.Event(), asyncio.Event()
    servers: list[LiveServer] = []

    async def serve() -> None:
        async with running_rest(settings, rest) as running:
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


async def _main() -> None:
    async with running_rest(load_settings(), RestSettings()) as running:
        sys.stdout.write(running.url + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
