"""A telephone system and a reader, before a server that plays their parts."""

import json
from http import HTTPStatus

import pytest
from websockets.asyncio.server import serve

from bench.audiohook_caller import AudioHook
from bench.callers import Asterisk, Call, Jambonz, MediaStreams
from bench.calling import texts_of_call

CALL = Call("a-token", (b"\x11" * 480, b"\x22" * 480))


class Server:
    """A bridge that answers as `answers` says, and two parties whose words are known."""

    def __init__(self, answers: dict[str, str | None], n_parties: int) -> None:
        self.answers = answers
        self.n_parties = n_parties
        self.heard: list[str | bytes] = []
        self.n_refused = 0

    def admit(self, connection, request):
        if request.path.startswith("/v1/calls/") and (not self.heard or not self.n_refused):
            self.n_refused += 1
            return connection.respond(HTTPStatus.NOT_FOUND, "")
        return None

    async def handle(self, socket):
        if socket.request.path.startswith("/v1/calls/"):
            for track, text in ((0, "hello"), (1, "yes"), (0, ""), (0, "there")):
                if track < self.n_parties:
                    final = {"type": "final", "track": track, "text": text}
                    await socket.send(json.dumps(final))
            await socket.send('{"type":"partial"}')
            await socket.send('{"type":"call_ended"}')
            return
        async for message in socket:
            self.heard.append(message)
            kind = json.loads(message).get("type") if isinstance(message, str) else None
            if kind in self.answers:
                answer = self.answers[kind]
                if answer is None:
                    return
                await socket.send(json.dumps({"type": answer, "seq": len(self.heard)}))


@pytest.mark.parametrize(
    ("make", "answers", "n_messages", "texts"),
    [
        (lambda: MediaStreams(2), {}, 2 + 6 + 1, ["hello there", "yes"]),
        (Asterisk, {}, 1 + 3, ["hello there"]),
        (Jambonz, {"stop": None}, 1 + 3 + 1, ["hello there"]),
        (
            lambda: AudioHook("key", b"secret", "wss://here/hook"),
            {"open": "opened", "close": "closed"},
            1 + 1 + 1,
            ["hello there", "yes"],
        ),
    ],
)
async def test_a_call_is_spoken_to_its_end_and_its_words_are_read(make, answers, n_messages, texts):
    server, caller = Server(answers, len(texts)), make()
    async with serve(server.handle, "127.0.0.1", 0, process_request=server.admit) as listener:
        address = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        heard = await texts_of_call(address, caller, CALL, "another")
    assert heard == texts
    assert len(server.heard) == n_messages
    assert server.n_refused
