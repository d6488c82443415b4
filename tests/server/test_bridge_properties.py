"""A bridge under anything that a wire, a door and a session may do, in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server import errors
from server.bridge_values import Admit, ToPeer, ToSession
from server.dialects.values import (
    Audio,
    Close,
    Fault,
    Flush,
    LanguageChanged,
    Reply,
    Stopped,
)
from server.wire import ErrorEvent, SpeechStarted
from tests.server.bridged import BOTH, FRAME, OPENING, READY, Bridged, FakeDialect, final

FAULT = Fault(errors.BAD_REQUEST, "x")
HEARD = st.one_of(
    st.sampled_from([OPENING, BOTH, Flush(), Reply("pong"), Stopped(), FAULT]),
    st.sampled_from(["en", "fr", None]).map(LanguageChanged),
    st.builds(
        Audio,
        st.sampled_from([FRAME, b"\1" * 33, b""]),
        st.sampled_from([None, 0, 0]),
        st.none() | st.integers(1, 60),
        st.none() | st.integers(0, 5000),
    ),
)
EVENTS = st.sampled_from(
    [
        READY,
        SpeechStarted(0, 10),
        final(10, 30),
        ErrorEvent("quota_audio", "", False),
        ErrorEvent("internal", "", True),
    ]
)
REFUSALS = st.sampled_from([errors.FORBIDDEN, errors.OVERLOADED])


class AnyCall(RuleBasedStateMachine):
    @initialize(closes=st.booleans(), is_known=st.booleans())
    def begin(self, closes, is_known):
        self.bridged = Bridged(FakeDialect(closes=closes), is_known=is_known)
        self.is_admitted = False
        self.is_refused = False
        self.n_when_over = None

    @rule(heard=st.lists(HEARD, max_size=4))
    def hear(self, heard):
        self.bridged.hear(*heard)

    @rule()
    def open(self):
        self.bridged.hear(OPENING)

    @rule()
    def admit(self):
        self.is_admitted |= self.bridged.bridge.is_asking
        self.bridged.admit()

    @rule(event=EVENTS)
    def event(self, event):
        self.bridged.event(event)

    @rule(refusal=REFUSALS)
    def refuse(self, refusal):
        self.bridged.refuse(refusal)

    @rule()
    def end_session(self):
        self.bridged.session_end()

    @rule()
    def go(self):
        self.bridged.gone()

    @rule(is_behind=st.booleans())
    def fall_behind(self, is_behind):
        self.bridged.bridge.is_behind = is_behind

    @rule(duration_s=st.sampled_from([0.02, 0.15, 0.5, 6, 11, 301]))
    def move(self, duration_s):
        self.bridged.move(duration_s)

    @invariant()
    def says_nothing_after_it_is_over(self):
        if self.n_when_over is not None:
            assert len(self.bridged.actions) == self.n_when_over
        if self.bridged.bridge.is_over:
            self.n_when_over = len(self.bridged.actions)
            assert self.bridged.bridge.next_deadline_s == float("inf")

    @invariant()
    def closes_last_and_once(self):
        closes = [isinstance(frame, Close) for frame in self.bridged.sent]
        assert sum(closes) <= 1
        if any(closes):
            assert isinstance(self.bridged.actions[-1], ToPeer)
            assert isinstance(self.bridged.sent[-1], Close)
            assert self.bridged.bridge.is_over

    @invariant()
    def asks_once(self):
        assert len(self.bridged.of(Admit)) <= 1

    @invariant()
    def tells_the_session_between_its_start_and_its_stop(self):
        told = [
            each.frame if isinstance(each.frame, bytes) else kind
            for each, kind in self._with_types()
        ]
        assert self.is_admitted or not told
        if told:
            assert told[0] == "start"
            assert told.count("start") == 1
            assert "stop" not in told[:-1]

    def _with_types(self):
        types = iter(self.bridged.types)
        return [
            (each, None if isinstance(each.frame, bytes) else next(types))
            for each in self.bridged.of(ToSession)
        ]

    @invariant()
    def ends_once_and_for_its_reason(self):
        ended = self.bridged.ended
        assert len(ended) <= 1
        if ended:
            assert ended[0].refusal == self.bridged.refusal
            assert self.bridged.dialect.told[-1] is ended[0]


AnyCall.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestAnyCall = AnyCall.TestCase
