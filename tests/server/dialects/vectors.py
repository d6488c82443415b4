"""Wire vectors of dialects: what a client sends and a session says in, what each is told out.

Exact, byte for byte.

A file is one connection, a JSON object a line. The first says who comes:

    {"dialect": "openai_realtime", "upgrade": {"path": "/v1/realtime", "query": [["intent", "x"]]}}

beside `path` and `query` an upgrade may have `headers` (names in lower case) and `subprotocols`;
beside them the line may have `wall_s` and `languages` of the model. Its `then` says what the answer
to it is: `{"accepted": {"subprotocol": …, "headers": …}}`, or `{"declined": {"status": …, …}}`,
which ends the file. Each line after it is something that happens, and what comes of it:

    {"open": true, "then": […]}                       the connection is open
    {"text": "…", "then": […]}                        a text frame of the client
    {"base64": "…", "then": […]}                      a binary frame of the client
    {"event": {"type": "ready", …}, "then": […]}      an event of the native session
    {"close": 1000, "then": […]}                      the native session closes so

In `then`: `{"say": {…}}` and `{"hear": base64}` to the native session, `{"broken": true}`, and to
the client `{"text": "…"}`, `{"base64": "…"}` and `{"close": 1000}`. Ids count up from
`00000000-0000-4000-8000-000000000001`. A new or changed file is written so that its `then`s may be
left out, made whole by

    python -m tests.server.dialects.vectors tests/vectors/dialects/NAME.jsonl

and read.
"""

import base64
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from server import wire
from server.client_apis import client_apis
from server.client_settings import ClientSettings
from server.dialects.translation import Broken, DeclinedError, Hear, Host, Say
from server.dialects.values import Reply, Upgrade
from server.recognition import ModelCard

FOLDER = Path(__file__).parent.parent.parent / "vectors" / "dialects"
LANGUAGES = ("de", "en", "zh")
WALL_S = 1_750_000_000.0


def replayed(lines: Iterable[dict]) -> Iterator[dict]:
    """The same lines, each with what comes of it."""
    lines = iter(lines)
    header = next(lines)
    api, upgrade = api_at(header["upgrade"]["path"]), upgrade_of(header["upgrade"])
    try:
        dialect = api.new_dialect(upgrade, host_of(header))
    except DeclinedError as declined:
        yield header | {"then": [{"declined": shown(declined.answer)}]}
        return
    accepted = {
        "subprotocol": api.subprotocol(upgrade),
        "headers": [list(pair) for pair in api.headers(dialect)],
    }
    yield header | {"then": [{"accepted": accepted}]}
    for line in lines:
        yield line | {"then": list(outcome(dialect, line))}


def api_at(path: str):
    apis = client_apis(ClientSettings(vosk=True, whisper_live=True, at_root="vosk"))
    return next(api for api in apis if path in api.paths)


def upgrade_of(shown: dict) -> Upgrade:
    pairs = [(name, value) for name, value in shown.get("query", ())]
    return Upgrade(
        target=shown["path"] + ("?" + urlencode(pairs) if pairs else ""),
        headers=[(name, value) for name, value in shown.get("headers", ())],
        query=pairs,
        subprotocols=shown.get("subprotocols", ()),
    )


def host_of(header: dict) -> Host:
    numbers = count(1)
    model = ModelCard("tiny", frozenset(header.get("languages", LANGUAGES)))
    new_id = lambda: f"00000000-0000-4000-8000-{next(numbers):012}"  # noqa: E731
    return Host(model, new_id, header.get("wall_s", WALL_S))


def shown(answer) -> dict:
    return {
        "status": answer.status,
        "body": answer.body.decode(),
        "headers": [list(pair) for pair in answer.headers],
        "media_type": answer.media_type,
    }


def outcome(dialect, line: dict) -> Iterator[dict]:
    match line:
        case {"open": _}:
            yield from map(told, dialect.open())
        case {"text": text}:
            yield from map(told, dialect.receive(text))
        case {"base64": encoded}:
            yield from map(told, dialect.receive(base64.b64decode(encoded, validate=True)))
        case {"event": event}:
            yield from map(frame, dialect.tell(msgspec.convert(event, wire.ServerEvent)))
        case {"close": code}:
            yield {"close": dialect.close_code(code)}


def told(translated) -> dict:
    match translated:
        case Say(message):
            return {"say": msgspec.json.decode(wire.encode(message))}
        case Hear(payload):
            return {"hear": base64.b64encode(payload).decode()}
        case Reply(sent):
            return frame(sent)
        case Broken():
            return {"broken": True}


def frame(sent: str | bytes) -> dict:
    return {"text": sent} if isinstance(sent, str) else {"base64": base64.b64encode(sent).decode()}


def read(path: Path) -> list[dict]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def write(path: Path, lines: Iterable[dict]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name), list(replayed(read(Path(name)))))
