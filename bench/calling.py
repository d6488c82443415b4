"""A call and a server's address in, what each party has said out, as those read it who follow the
call: a telephone system's connection and a reader's, side by side.
"""

import asyncio
import json
import time

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.callers import Call, Caller

LIMIT_S = 30.0
"""For what has to come within moments, on a machine that is busy."""


async def texts_of_call(address: str, caller: Caller, call: Call, reader_token: str) -> list[str]:
    """What each party has said, by those who follow the call."""
    url = f"{address}/v1/bridges/{caller.name}{caller.query(call)}"
    headers = caller.headers(call, url, time.time())  # noqa: TID251
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(follow(address, call, reader_token, caller.n_parties))
        async with connect_socket(
            url, additional_headers=headers, compression=None, ping_interval=None
        ) as socket:
            await speak(socket, caller, call)
    return reading.result()


async def speak(
    socket: ClientConnection, caller: Caller, call: Call, limit_s: float = LIMIT_S
) -> None:
    """All of it, at the pace of speech, to the end of the connection, which may come so late."""
    for message in caller.opening(call):
        await socket.send(message)
    is_answered = asyncio.Event()
    if caller.answer is None:
        is_answered.set()
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(hear(socket, caller, is_answered))
        async with asyncio.timeout(LIMIT_S):
            await is_answered.wait()
        began_s = time.monotonic()
        for due in caller.audio(call):
            await asyncio.sleep(max(0.0, began_s + due.at_s - time.monotonic()))
            await socket.send(due.message)
        for message in caller.closing(call):
            await socket.send(message)
        if caller.answer is not None or caller.is_closed_by_server:
            async with asyncio.timeout(limit_s):
                await listening
        await socket.close()


async def hear(socket: ClientConnection, caller: Caller, is_answered: asyncio.Event) -> None:
    """Until the server has closed, or says that it is done."""
    try:
        async for message in socket:
            assert isinstance(message, str)
            caller.hear(message)
            if caller.answer is not None and caller.answer in message:
                is_answered.set()
            if '"closed"' in message:
                return
    except ConnectionClosed:
        pass


async def follow(address: str, call: Call, token: str, n_parties: int) -> list[str]:
    """Reads a call's events from when there is one to its end."""
    url = f"{address}/v1/calls/{call.id}/events"
    headers = {"Authorization": f"Bearer {token}"}
    ends_s = time.monotonic() + LIMIT_S
    while True:
        try:
            async with connect_socket(url, additional_headers=headers) as socket:
                return await read_texts(socket, n_parties)
        except InvalidStatus as refused:
            if refused.response.status_code != 404 or time.monotonic() > ends_s:
                raise
            await asyncio.sleep(0.1)


async def read_texts(socket: ClientConnection, n_parties: int) -> list[str]:
    """The finals of each track, in order."""
    texts: list[list[str]] = [[] for _ in range(n_parties)]
    async for message in socket:
        event = json.loads(message)
        if event["type"] == "final":
            texts[event["track"]].append(event["text"])
        elif event["type"] in ("call_ended", "error"):
            break
    return [" ".join(text for text in of_party if text) for of_party in texts]
