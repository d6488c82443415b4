"""What is left of a refused body: taken, if it comes at once."""

import asyncio

from server.incoming import Incoming


def body(data, more_body=True):
    return {"type": "http.request", "body": data, "more_body": more_body}


def incoming(*messages):
    inbox = asyncio.Queue()
    for message in messages:
        inbox.put_nowait(message)
    return Incoming(inbox.get), inbox


async def test_the_rest_of_a_body_is_taken():
    request, inbox = incoming(body(b"a"), body(b"b"), body(b"c", more_body=False), body(b"next"))
    assert (await request.receive())["body"] == b"a"
    await request.drop_rest()
    assert inbox.qsize() == 1


async def test_of_a_body_that_is_complete_nothing_is_waited_for():
    request, inbox = incoming(body(b"a", more_body=False), body(b"next"))
    await request.receive()
    await request.drop_rest()
    assert inbox.qsize() == 1


async def test_of_a_client_that_has_gone_nothing_is_waited_for():
    request, _ = incoming({"type": "http.disconnect"})
    await request.drop_rest()


async def test_a_body_that_does_not_come_is_not_waited_for_long():
    request, _ = incoming()
    async with asyncio.timeout(10):
        await request.drop_rest()


async def test_of_a_long_body_not_all_is_taken():
    request, inbox = incoming(*[body(bytes(1 << 18))] * 10)
    await request.drop_rest()
    assert inbox.qsize() == 6
