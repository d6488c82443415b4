"""Whatever is asked for, in any order: nothing is lost, nothing is given twice, nobody starves."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.backlog import Backlog, BacklogSettings, Key, Request
from server.recognition import Urgency
from tests.fakes import ManualClock
from tests.server.asked import FINAL, LIKELY, PARTIAL, asked

SUBJECTS = st.sampled_from(["alice", "bob", "carol"])
LENGTHS_S = st.sampled_from([0.0, 0.5, 1.0, 4.0])
MOST_COST_S, LEAST_COST_S = 5.0, 1.0


@settings(max_examples=100, deadline=None)
@given(
    own_length_s=LENGTHS_S,
    n_own=st.integers(0, 3),
    most_utterances=st.integers(1, 4),
    others=st.lists(
        st.lists(st.tuples(st.sampled_from(["bob", "carol"]), st.integers(0, 5), LENGTHS_S)),
        max_size=100,
    ),
)
def test_a_final_is_taken_within_a_bounded_number_of_takes_whatever_the_others_ask(
    own_length_s, n_own, most_utterances, others
):
    backlog = Backlog(BacklogSettings(most_utterances=most_utterances))
    for number in range(n_own):
        backlog.add(asked(f"before {number}", length_s=4.0))
    waiting = asked("waiting", length_s=own_length_s)
    backlog.add(waiting)
    n_takes = 0
    for requests in others:
        for subject, name, length_s in requests:
            backlog.add(asked(name, subject=subject, length_s=length_s))
        n_takes += bool(backlog.take(0.0))
        if not backlog.holds(waiting.key):
            break
        per_subject = n_own * MOST_COST_S / LEAST_COST_S + 1
        assert n_takes <= n_own + 2 * per_subject


class Backlogs(RuleBasedStateMachine):
    """Anything is asked for, taken back, hurried and decoded, in any order."""

    @initialize(most_utterances=st.integers(1, 4), n_workers=st.integers(1, 2))
    def begin(self, most_utterances, n_workers):
        self.clock = ManualClock()
        self.backlog = Backlog(BacklogSettings(most_utterances=most_utterances), n_workers)
        self.waiting: dict[Key, Request] = {}
        self.in_engine: list[list[Request]] = []
        self.n_asked = 0
        self.most_utterances = most_utterances

    @rule(
        subject=SUBJECTS,
        name=st.integers(0, 3),
        urgency=st.sampled_from(Urgency),
        length_s=LENGTHS_S,
        is_alone=st.booleans(),
    )
    def ask(self, subject, name, urgency, length_s, is_alone):
        self.n_asked += 1
        request = asked(
            name,
            urgency,
            subject=subject,
            length_s=length_s,
            number=self.n_asked,
            is_alone=is_alone,
            asked_s=self.clock(),
        )
        replaced = self.backlog.add(request)
        held = self.waiting.get(request.key)
        assert (replaced and replaced.number) == (held and held.number)
        self.waiting[request.key] = request

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take_back(self, data):
        key = data.draw(st.sampled_from(list(self.waiting)))
        self.backlog.remove(self.waiting.pop(key))

    @rule(subject=SUBJECTS, name=st.integers(0, 3), urgency=st.sampled_from(Urgency))
    def hurry(self, subject, name, urgency):
        key = Key(subject, str(name), 0)
        self.backlog.reprioritise(key, urgency)
        if key in self.waiting:
            held = self.waiting[key]
            utterance = replace(held.utterance, is_final=urgency is not PARTIAL)
            self.waiting[key] = replace(held, urgency=urgency, utterance=utterance)

    @rule()
    def take(self):
        batch = self.backlog.take(self.clock())
        assert len(batch) <= self.most_utterances
        assert len(batch) <= 1 or not any(request.is_alone for request in batch)
        for request in batch:
            held = self.waiting.pop(request.key)
            assert request.number == held.number
            assert request.urgency is held.urgency
            assert request.utterance.is_final == held.utterance.is_final
        taken = [request.urgency for request in batch]
        left = [request.urgency for request in self.waiting.values() if self.is_due(request)]
        assert taken == sorted(taken)
        assert not (PARTIAL in taken and {FINAL, LIKELY} & set(taken + left))
        assert not (LIKELY in taken and FINAL in left)
        assert batch or not {FINAL, LIKELY} & set(left)
        if batch:
            self.in_engine.append(batch)

    def is_due(self, request):
        """At the latest: what is only likely may be held for a moment."""
        return request.urgency is not LIKELY or request.asked_s + 0.25 <= self.clock()

    @precondition(lambda self: self.in_engine)
    @rule(took_s=st.floats(0.0, 30.0))
    def finish(self, took_s):
        self.clock.move(took_s)
        self.backlog.finish(self.in_engine.pop(0), took_s, self.clock())

    @rule(duration_s=st.floats(0.0, 100.0))
    def let_pass(self, duration_s):
        self.clock.move(duration_s)

    @precondition(lambda self: not self.in_engine)
    @rule()
    def drain(self):
        assert {request.number for request in self.backlog.drain()} == {
            request.number for request in self.waiting.values()
        }
        self.waiting = {}

    @precondition(lambda self: self.waiting)
    @rule()
    def wait_until_due(self):
        for _ in range(100):
            due_s = self.backlog.next_s(self.clock())
            assert due_s >= self.clock()
            self.clock.now_s = due_s + 1e-3
            assert not self.backlog.is_empty
            batch = self.backlog.take(self.clock())
            if batch:
                break
        assert batch, "due, and never given"
        for request in batch:
            del self.waiting[request.key]
        self.in_engine.append(batch)

    @invariant()
    def nothing_is_lost_and_nothing_is_left(self):
        assert self.backlog.is_empty == (not self.waiting)
        assert sum(len(line.waiting) for line in self.backlog._lines.values()) == len(self.waiting)
        assert all(self.backlog.holds(key) for key in self.waiting)

    @invariant()
    def nothing_is_remembered_of_a_line_that_is_empty(self):
        for line in self.backlog._lines.values():
            assert line.waiting or not line.served_to


Backlogs.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBacklogs = Backlogs.TestCase
