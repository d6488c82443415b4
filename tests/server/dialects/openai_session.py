"""A connection of OpenAI's Realtime API in the hand: what was sent and said, as values."""

import base64
import json
from itertools import count

from server import wire
from server.dialects.openai_realtime import PATH, OpenAiApi
from server.dialects.translation import Broken, Hear, Host, Say
from server.dialects.values import Reply, Upgrade
from server.recognition import ModelCard

MODEL = ModelCard("tiny.en", frozenset({"de", "en", "zh"}))
SECOND = bytes(48_000)
"""Of PCM."""
BY_CLIENT = {"audio": {"input": {"turn_detection": None}}}


def host(carried=None):
    numbers = count(1)
    return Host(MODEL, lambda: f"0-{next(numbers)}", 1000.0, carried)


def upgrade(query=(), headers=(), subprotocols=()):
    return Upgrade(PATH, headers=headers, query=query, subprotocols=subprotocols)


class Client:
    """Its dialect, and everything that came of it."""

    def __init__(self, shown=None, carried=None):
        self.dialect = OpenAiApi().new_dialect(shown or upgrade(), host(carried))
        self.events, self.said, self.audio, self.is_broken = [], [], b"", False
        self.n_kept_alive = 0
        self._take(self.dialect.open())

    def send(self, kind, **fields):
        """The events that are answered at once."""
        return self.send_frame(json.dumps({"type": kind, **fields}))

    def send_frame(self, frame):
        before = len(self.events)
        self._take(self.dialect.receive(frame))
        return self.events[before:]

    def update(self, **session):
        return self.send("session.update", session={"type": "transcription", **session})

    def update_input(self, **fields):
        return self.update(audio={"input": fields})

    def append(self, pcm=SECOND):
        return self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def commit(self):
        return self.send("input_audio_buffer.commit", event_id="evt_c")

    def clear(self):
        return self.send("input_audio_buffer.clear")

    def tell(self, *events):
        before = len(self.events)
        for event in events:
            self.events += [json.loads(frame) for frame in self.dialect.tell(event)]
        return self.events[before:]

    def of_type(self, kind):
        return [event for event in self.events if event["type"].endswith(kind)]

    @property
    def start(self):
        return self.said[0]

    @property
    def session(self):
        return [event for event in self.events if "session" in event][-1]["session"]

    def _take(self, translated):
        for each in translated:
            match each:
                case Reply(frame):
                    self.events.append(json.loads(frame))
                case Say(wire.KeepAlive()):
                    self.n_kept_alive += 1
                case Say(message):
                    wire.decode_client_message(wire.encode(message))
                    self.said.append(message)
                case Hear(payload):
                    assert self.said, "audio before start"
                    self.audio += payload
                case Broken():
                    self.is_broken = True


def types(events):
    return [event["type"].rpartition(".")[2] for event in events]


def started(segment, start_ms=0):
    return wire.SpeechStarted(segment, start_ms)


def partial(segment, stable, unstable=""):
    return wire.Partial(segment, 1, 0, 100, stable, unstable)


def ended(segment, end_ms=900):
    return wire.SpeechEnded(segment, end_ms)


def final(segment, text, start_ms=0, end_ms=900, language="en"):
    words = [wire.WordEvent(word, 0, 1, 0.5) for word in text.split()]
    return wire.Final(segment, start_ms, end_ms, text, language, 0.5, words)


def spoken(segment, text, start_ms=0, end_ms=900):
    """A whole segment."""
    return (
        started(segment, start_ms),
        partial(segment, text[: len(text) // 2]),
        ended(segment, end_ms),
        final(segment, text, start_ms, end_ms),
    )


def error(refusal):
    return wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)
