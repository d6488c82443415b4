"""An issuer that publishes its keys, is down or odd; and time that moves when it is told to."""

import asyncio
import heapq
from contextlib import asynccontextmanager

from security.errors import TokenKeyError
from tests.security.forge import jwk, jwks


class ManualTime:
    """A monotonic clock, and sleepers who wake when it has come so far."""

    def __init__(self):
        self.now_s = 1000.0
        self._sleepers = []

    def clock(self):
        return self.now_s

    async def sleep(self, duration_s):
        wake = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now_s + duration_s, id(wake), wake))
        await wake.wait()

    async def move(self, duration_s):
        """Everybody who is to wake meanwhile does so at their own moment."""
        end_s = self.now_s + duration_s
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            self.now_s, _, wake = heapq.heappop(self._sleepers)
            wake.set()
            await settled()
        self.now_s = end_s


async def settled():
    """Whatever can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


class FakeIssuer:
    """Its address; counts who asks."""

    def __init__(self, *key_ids, algorithm="ES256"):
        self.algorithm = algorithm
        self.publish(*key_ids)
        self.is_down = False
        self.n_fetches = 0
        self.gate = None

    def publish(self, *key_ids):
        self.document = jwks(*(jwk(self.algorithm, kid=key_id) for key_id in key_ids))

    async def fetch(self):
        self.n_fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise TokenKeyError("down")
        return self.document


@asynccontextmanager
async def running(task_of):
    """Run it until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(task_of())
        await settled()
        try:
            yield
        finally:
            task.cancel()


@asynccontextmanager
async def answering(answer):
    """The address of a server that answers each request with these bytes, and what it was asked."""
    asked = []

    async def serve(reader, writer):
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            for part in answer if isinstance(answer, list) else [answer]:
                if isinstance(part, float):
                    await asyncio.sleep(part)
                else:
                    writer.write(part)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/jwks", asked


def http(body=b"", status="200 OK", headers=()):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
