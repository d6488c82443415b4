"""A bridge with a wire that is scripted, and what it wants of its shell."""

import msgspec

from server.audio import AudioFormat, Encoding
from server.bridge import Bridge
from server.bridge_values import BridgeLimits, EndSession, ToCall, ToPeer, ToSession
from server.dialects.values import Close, Ended, Opening
from server.wire import Final, Limits, Ready, WordEvent
from tests.fakes import ManualClock

MULAW = AudioFormat(Encoding.MULAW, 8000)
OPENING = Opening(("inbound",), MULAW)
BOTH = Opening(("inbound", "outbound"), MULAW)
LANGUAGES = frozenset({"en", "de"})
READY = Ready("s-1", "fake", "en", 600, Limits(None, None, 3600))
FRAME = b"\xff" * 160
"""20 ms."""


class FakeDialect:
    """A frame means what the next entry of the script says; what is told is kept."""

    def __init__(self, *, closes=True):
        self.script = []
        self.told = []
        self.frames = []
        self.answers = {}
        """By kind of what is told: frames."""
        self.closes = closes

    def receive(self, frame):
        self.frames.append(frame)
        return self.script.pop(0) if self.script else []

    def tell(self, told):
        self.told.append(told)
        frames = list(self.answers.get(type(told), []))
        if isinstance(told, Ended) and self.closes:
            frames.append(Close(told.refusal.close_code if told.refusal else 1000))
        return frames


class Bridged:
    """A bridge whose actions are collected at once."""

    def __init__(self, dialect=None, limits=None, *, is_known=False, end_of_speech_ms=None):
        self.clock = ManualClock()
        self.dialect = dialect or FakeDialect()
        self.bridge = Bridge(
            self.dialect,
            limits or BridgeLimits(),
            self.clock(),
            is_known=is_known,
            end_of_speech_ms=end_of_speech_ms,
        )
        self.actions = []

    def hear(self, *heard, frame="x"):
        self.dialect.script.append(list(heard))
        return self.frame(frame)

    def frame(self, frame="x"):
        self.bridge.receive_frame(frame, self.clock())
        return self.settle()

    def gone(self, cause=None):
        self.bridge.receive_gone(self.clock(), cause)
        return self.settle()

    def admit(self, language=None):
        self.bridge.receive_admitted(self.clock(), language)
        return self.settle()

    def refuse(self, refusal):
        self.bridge.receive_refused(refusal, self.clock())
        return self.settle()

    def event(self, event):
        self.bridge.receive_event(event, LANGUAGES, self.clock())
        return self.settle()

    def session_end(self):
        self.bridge.receive_session_end(self.clock())
        return self.settle()

    def move(self, duration_s):
        """As a shell does: it wakes for what is due."""
        until_s = self.clock() + duration_s
        while self.bridge.next_deadline_s <= until_s:
            self.clock.now_s = max(self.clock(), self.bridge.next_deadline_s)
            self.bridge.tick(self.clock())
            self.settle()
        self.clock.now_s = until_s
        self.bridge.tick(until_s)
        return self.settle()

    def settle(self):
        self.actions += self.bridge.actions()
        return self

    def of(self, kind):
        return [action for action in self.actions if isinstance(action, kind)]

    @property
    def audio(self):
        return [
            (each.channel, each.frame)
            for each in self.of(ToSession)
            if isinstance(each.frame, bytes)
        ]

    @property
    def texts(self):
        return [
            msgspec.json.decode(each.frame)
            for each in self.of(ToSession)
            if isinstance(each.frame, str)
        ]

    @property
    def types(self):
        return [text["type"] for text in self.texts]

    @property
    def ends(self):
        """Of the session, other than by `stop`."""
        return [each.refusal for each in self.of(EndSession)]

    @property
    def sent(self):
        return [each.frame for each in self.of(ToPeer)]

    @property
    def refusal(self):
        """For which it ended, or will."""
        return self.bridge.cause and self.bridge.cause.refusal

    @property
    def said(self):
        return [each.said for each in self.of(ToCall)]

    @property
    def ended(self):
        return [told for told in self.dialect.told if isinstance(told, Ended)]


def opened(opening=OPENING, dialect=None, limits=None, **options):
    """A call that a session hears."""
    bridged = Bridged(dialect, limits, **options)
    return bridged.hear(opening).admit().event(READY)


def final(start_ms, end_ms, channel=0):
    word = WordEvent("hello", start_ms, end_ms, 0.9)
    return Final(0, start_ms, end_ms, "hello", "en", 0.9, [word], channel=channel)
