"""Both ends without a socket, over a line that loses the end of whatever is on its way."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from client.conversation import Conversation
from server import wire
from tests.client.fake_server import ended
from tests.client.keeping_server import KeptSession

START = wire.Start(16_000, resumable=True)


class BreakingLine(RuleBasedStateMachine):
    """Whatever is said and wherever it breaks, each end has all that the other said, once."""

    def __init__(self):
        super().__init__()
        self.server = KeptSession()
        self.client = Conversation(START)
        self.said = b""
        self.flushed_at = set()
        self.events = []
        self.up, self.down = deque(), deque()
        self.now_s = 0.0
        self.up.append(self.client.opening())

    @precondition(lambda self: self.client.wants_audio)
    @rule(pcm=st.binary(max_size=3000))
    def speak(self, pcm):
        self.said += pcm
        self.client.outgoing.add_audio(pcm)

    @precondition(lambda self: self.client.wants_audio)
    @rule()
    def flush(self):
        self.flushed_at.add(len(self.said) // 2 * 2)
        self.client.outgoing.add(wire.Flush())

    @precondition(lambda self: self.client.wants_audio)
    @rule()
    def show_life(self):
        self.client.outgoing.add(wire.KeepAlive())

    @precondition(lambda self: self.client.wants_audio)
    @rule(token=st.sampled_from(["a", "b", "c"]))
    def refresh(self, token):
        self.client.refresh(token)

    @precondition(lambda self: len(self.said) > 4000)
    @rule()
    def stop(self):
        self.client.stop()

    @rule(most=st.integers(1, 8), wait_s=st.sampled_from([0.0, 0.4, 1.1]))
    def send(self, most, wait_s):
        self.now_s += wait_s
        for _ in range(most):
            frame = self.client.take_frame(self.now_s)
            if frame is not None:
                self.up.append(frame)

    @rule(most=st.integers(1, 8))
    def arrive_at_the_server(self, most):
        for _ in range(min(most, len(self.up))):
            self.down += map(wire.encode, self.server.receive(self.up.popleft()))

    @rule(most=st.integers(1, 12))
    def arrive_at_the_client(self, most):
        for _ in range(min(most, len(self.down))):
            self.client.receive_frame(self.down.popleft())
            self.events += iter(self.client.take_event, None)

    @precondition(lambda self: not self.client.is_over)
    @rule(n_up=st.integers(0, 6), n_down=st.integers(0, 12), code=st.sampled_from([1006, 1001]))
    def break_off(self, n_up, n_down, code):
        """Some of what is on its way still arrives, on either side."""
        self.arrive_at_the_server(n_up)
        self.arrive_at_the_client(n_down)
        self.client.receive_close(code)
        self.server.break_off()
        self.up.clear()
        self.down.clear()
        if not self.client.is_over:
            if self.client.resumption is None:
                self.server = KeptSession()
            self.up.append(self.client.opening())

    @invariant()
    def nothing_is_lost_or_doubled(self):
        assert self.client.failure is None
        assert self.said.startswith(self.server.audio)
        assert self.events == self.server.events[: len(self.events)]
        assert set(self.server.flushes) <= self.flushed_at
        assert self.client.outgoing.acknowledged_bytes <= len(self.server.audio)

    def teardown(self):
        """Undisturbed from now on."""
        while self.client.ready is None:
            assert self._exchange()
        self.client.stop()
        while self._exchange():
            pass
        if (report := self.client.take_last_report()) is not None:
            self.server.receive(report)
        assert self.client.is_over
        assert self.server.audio == self.said[: len(self.said) // 2 * 2]
        assert set(self.server.flushes) == self.flushed_at
        assert self.events == self.server.events
        assert self.events[-1] == ended()
        assert self.server.is_settled
        assert self.client.outgoing.kept_bytes <= 256 * 4 + 1

    def _exchange(self):
        self.send(8, 0.4)
        n_frames = len(self.up) + len(self.down)
        self.arrive_at_the_server(len(self.up))
        self.arrive_at_the_client(len(self.down))
        return n_frames


TestBreakingLine = BreakingLine.TestCase
TestBreakingLine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
