"""A script of frames, answers and time: whatever is done to a session, it ends once and in order.

Each step is a byte for what is done and a byte for how much; frames take their bytes from what
follows.
"""

from dataclasses import replace

from security.door_events import SessionEnded
from server import errors
from server.session import Session
from server.session_values import Close, Record, Reserve
from server.track import Score, Transcribe
from tests.fakes import (
    FLUSH,
    GRANT,
    START,
    STOP,
    ManualClock,
    hear,
    limited,
    message_of,
    new_session,
    silence,
    speech,
)

MAX_BYTES = 600
_MOST_STEPS = 100  # an input of a few hundred bytes must not ask for minutes of audio
_TEXTS = (
    *(START, STOP, FLUSH, '{"type":"keep_alive"}', "garbage", ""),
    '{"type":"start","sample_rate_hz":8000,"partials":false,"end_of_speech_ms":200}',
    '{"type":"start","sample_rate_hz":44100,"language":"en","context":"words"}',
    '{"type":"start","sample_rate_hz":48000,"language":"xx"}',
)
TEXT, SPOKEN, SILENT, RAW, SCORE, ANSWER, FAIL, TICK, FRAME, END = range(10)
REFRESH, REFUSE, GIVE = range(10, 13)
SEEDS = [
    bytes([TEXT, 0, SPOKEN, 100, SCORE, 255, ANSWER, 0, SILENT, 100, SCORE, 0, TEXT, 1, ANSWER, 0]),
    bytes([TEXT, 6, RAW, 5, 1, 2, 3, 4, 5, SPOKEN, 200, SCORE, 255, TEXT, 2, FAIL, 0, TICK, 255]),
    bytes([TEXT, 7, SPOKEN, 255, SCORE, 255, SPOKEN, 255, SCORE, 255, ANSWER, 0, END, 0]),
    # a flush inside a window, with all before it to be dropped (found here)
    bytes([TEXT, 6, *[SPOKEN, 255] * 4, *[SCORE, 255] * 4, SILENT, 50])
    + bytes([TEXT, 2, SCORE, 75, SPOKEN, 64]),
    bytes([TEXT, 0, GIVE, 255, SPOKEN, 200, REFRESH, 9, SCORE, 255, SPOKEN, 200, GIVE, 1]),
    bytes([TEXT, 0, REFUSE, 0, REFUSE, 1, SPOKEN, 9, REFUSE, 2]),
    bytes([TEXT, 0, TEXT, 0]),
    bytes([RAW, 2, 0, 0]),
    bytes([FRAME, 15]) + b'{"type":"stop"}',
    bytes([TEXT, 0, TICK, 255, TICK, 255]),
    bytes([TEXT, 0, SPOKEN, 90, SCORE, 255, SILENT, 90, SCORE, 0, END, 1, END, 2, END, 3]),
]


class _Peer:
    """Does what the script says; keeps what the session wants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        limits = limited(audio_s_per_day=60, pace_percent=400, session_bytes=1 << 20)
        self.session: Session = new_session(self.clock, limits)
        self.wishes_ms: list[int] = []
        self.scores: list[Score] = []
        self.requests: list[Transcribe] = []
        self.records: list[object] = []
        self.closes = 0
        self.drain()

    def drain(self) -> None:
        for action in self.session.actions():
            assert not self.closes, "something after Close"
            match action:
                case Score():
                    self.scores.append(action)
                case Transcribe():
                    self.requests.append(action)
                case Record(event):
                    self.records.append(event)
                case Reserve(audio_ms):
                    self.wishes_ms += [audio_ms] if audio_ms > 0 else []
                case Close():
                    self.closes += 1

    def act(self, step: int, amount: int, script: list[int]) -> None:  # noqa: C901 (a step each)
        session, now_s = self.session, self.clock()
        match step:
            case 0:
                session.receive_message(message_of(_TEXTS[amount % len(_TEXTS)]), now_s)
            case 1:
                session.receive_audio(speech(amount), now_s)
            case 2:
                session.receive_audio(silence(amount), now_s)
            case 3:
                session.receive_audio(_take(script, amount), now_s)
            case 4 if self.scores:
                windows = self.scores.pop(0).samples.size // 512
                session.receive_scores([amount / 255] * windows)
            case 5 if self.requests:
                request = self.requests.pop(amount % len(self.requests))
                heard = hear(request.utterance)
                session.receive_hypothesis(request.segment, request.revision, heard)
            case 6 if self.requests:
                request = self.requests.pop(amount % len(self.requests))
                session.receive_failure(request.segment, request.revision, now_s)
            case 7:
                self.clock.move(amount / 8)
                session.tick(self.clock())
            case 8:
                frame = _take(script, amount).decode("utf-8", "replace")
                session.receive_message(message_of(frame), now_s)
            case 9:
                self.end(amount)
            case 10:
                newer = replace(GRANT, expires_in_s=amount * 60.0)
                session.receive_grant(newer, now_s)
            case 11:
                session.refuse_refresh(errors.UNAUTHENTICATED, "token_expired", now_s)
            case 12 if self.wishes_ms and not session.is_closed:
                session.receive_reserved(self.wishes_ms.pop(0), amount * 40)
        self.drain()

    def end(self, how: int) -> None:
        match how % 4:
            case 0:
                self.session.receive_gone()
            case 1:
                self.session.receive_gone(errors.MESSAGE_TOO_BIG.close_code)
            case 2:
                self.session.refuse(errors.SHUTTING_DOWN, self.clock())
            case _:
                self.session.abort()


def _take(script: list[int], count: int) -> bytes:
    taken = bytes(script[:count])
    del script[:count]
    return taken


def fuzz_session(data: bytes) -> None:
    peer, script = _Peer(), list(data)
    for _ in range(_MOST_STEPS):
        if len(script) < 2:
            break
        step, amount = script.pop(0) % 13, script.pop(0)
        peer.act(step, amount, script)
    peer.session.receive_gone()
    peer.drain()
    assert peer.session.is_closed
    assert peer.closes == 1
    assert [type(record) for record in peer.records].count(SessionEnded) == 1
    assert isinstance(peer.records[-1], SessionEnded)
    assert peer.session.next_deadline_s == float("inf")
