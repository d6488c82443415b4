"""What the stages know in; series of Prometheus out, as many as there may be and no more."""

import asyncio
import timeit
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from security.audit_events import AuditEvent
from security.audit_store import SignedAt
from security.door_events import SessionStarted
from security.errors import AuditError
from server import errors
from server.backlog import Key
from server.crowd import Crowd
from server.figures import Figures
from server.forwarded import Networks
from server.live import LiveSessions
from server.metrics import CountedTrail, Metrics, Watched, watch_loop_lag
from server.recognition import Urgency, Utterance
from server.scheduler import Scheduler, SchedulerSettings
from server.subjects import MemorySubjects
from tests.fakes import FakeRecognizer, ManualClock
from tests.server.audited import ended, event_of

MOST_SERIES = 2000
"""Far from what one Prometheus can hold; a stranger's strings would go beyond it."""


@dataclass
class Trail:
    """What is asked of a store, in the hand."""

    newest_seq: int = 7
    write_lag_s: float = 0.0
    is_failing: bool = False
    n_lost: int = 0
    newest_checkpoint: SignedAt | None = None
    events: list = field(default_factory=list)

    async def record(self, event) -> int:
        if self.is_failing:
            raise AuditError("disk full")
        self.events.append(event)
        return len(self.events)

    async def note(self, event) -> None:
        self.events.append(event)


class Scene:
    """All that is watched."""

    def __init__(self) -> None:
        self.figures, self.clock, self.trail = Figures(), ManualClock(), Trail()
        subjects = MemorySubjects(self.clock, lambda: 0.0)
        self.live = LiveSessions(5, subjects)
        self.crowd = Crowd(1, 1, Networks(()))

        async def reopen(reason):
            raise AssertionError(reason)

        self.scheduler = Scheduler(
            FakeRecognizer(), SchedulerSettings(), reopen, self.clock, self.figures
        )
        self.metrics = Metrics(
            Watched(
                self.figures,
                self.live,
                self.scheduler,
                self.trail,
                lambda: self.crowd,
                lambda: 100 * 10**9,
            )
        )

    def told(self) -> dict[str, float]:
        text = self.metrics.text().decode()
        return {
            sample.name.removeprefix("earwitness_") + told_labels(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def told_labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(labels.values()) + "}" if labels else ""


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_server_that_has_done_nothing_tells_so(scene):
    told = scene.told()
    assert told["sessions"] == told["sessions_started_total"] == 0
    assert told["handshakes_refused_total{unauthenticated}"] == 0
    assert (told["engine_open"], told["engine_full"], told["trail_rows"]) == (0, 1, 7)
    assert "trail_checkpoint_age_seconds" not in told


async def test_sessions_are_told_by_how_they_ended(scene):
    scene.figures.receive_event(event_of(SessionStarted))
    scene.figures.receive_event(ended("quota_audio"))
    told = scene.told()
    assert told["sessions_started_total"] == 1
    assert told["sessions_ended_total{quota,quota_audio}"] == 1
    assert told["trail_events_total{session.ended}"] == 1


async def test_refusals_and_requests_are_told(scene):
    scene.figures.receive_refusal(errors.FORBIDDEN)
    scene.figures.receive_request("/v1/stream", 403)
    scene.figures.handshake_s[False].observe(0.003)
    told = scene.told()
    assert told["handshakes_refused_total{forbidden}"] == 1
    assert told["requests_total{/v1/stream,403}"] == 1
    assert told["handshake_seconds_bucket{false,0.0025}"] == 0
    assert told["handshake_seconds_bucket{false,0.005}"] == 1
    assert told["handshake_seconds_count{false}"] == 1


async def test_connections_are_told(scene):
    scene.crowd.enter("192.0.2.1")
    scene.crowd.enter("192.0.2.2")
    told = scene.told()
    assert (told["connections"], told["connections_refused_total"]) == (1, 1)


async def test_batches_have_a_size_a_time_and_their_audio(scene):
    scene.figures.receive_batch(3, 48_000, 0.6, is_final=True)
    told = scene.told()
    assert told["batch_utterances_sum{final}"] == 3
    assert told["decode_seconds_sum{final}"] == 0.6
    assert told["decoded_audio_seconds_total{final}"] == 3.0


async def test_what_waits_for_the_engine_is_told(scene):
    utterance = Utterance(np.zeros(16_000, np.float32), is_final=True)
    asked = scene.scheduler.submit(Key("a", "s", 1), utterance, Urgency.FINAL)
    told = scene.told()
    assert (told["backlog_requests{final}"], told["backlog_requests{partial}"]) == (1, 0)
    assert told["backlog_wait_seconds"] > 0
    asked.cancel()


async def test_the_trails_state_is_told(scene):
    scene.trail.newest_checkpoint = SignedAt(5, 40 * 10**9)
    scene.trail.is_failing, scene.trail.n_lost, scene.trail.write_lag_s = True, 3, 0.5
    told = scene.told()
    assert (told["trail_checkpoint_rows"], told["trail_checkpoint_age_seconds"]) == (5, 60)
    assert told["trail_checkpoint_timestamp_seconds"] == 40
    assert (told["trail_failing"], told["trail_lost_events_total"]) == (1, 3)
    assert told["trail_lag_seconds"] == 0.5


async def test_the_process_and_what_it_runs_are_told(scene):
    told = scene.told()
    assert told["process_resident_memory_bytes"] > 0
    assert any(name.startswith("build_info{") for name in told)


async def test_registries_do_not_share_what_they_hold(scene):
    scene.figures.receive_event(ended())
    assert Scene().told()["sessions_ended_total{client,stopped}"] == 0


async def test_an_event_counts_once_it_is_durable(scene):
    trail = CountedTrail(scene.trail, scene.figures, scene.clock)
    assert await trail.record(ended()) == 1
    scene.trail.is_failing = True
    with pytest.raises(AuditError):
        await trail.record(ended())
    assert scene.figures.ended["stopped"] == 1
    assert sum(scene.figures.trail_write_s.counts) == 1


async def test_what_has_happened_counts_whether_or_not_it_was_written(scene):
    trail = CountedTrail(scene.trail, scene.figures, scene.clock)
    await trail.note(ended())
    assert (scene.figures.ended["stopped"], len(scene.trail.events)) == (1, 1)


async def test_a_loop_that_is_held_up_is_seen(scene):
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch_loop_lag(scene.figures))
        await asyncio.sleep(0.3)
        watching.cancel()
    assert sum(scene.figures.loop_lag_s.counts) == 1


async def test_all_is_told_in_less_than_the_loop_may_be_held_up(scene):
    for number in range(256):
        scene.figures.receive_request(f"/{number}", 200)
    times_s = timeit.repeat(scene.metrics.text, number=1, repeat=20)
    assert min(times_s) < 0.02


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.from_type(AuditEvent), max_size=30),
    st.lists(st.text(min_size=1), max_size=30),
)
def test_no_string_of_a_peer_makes_a_series(events, texts):
    scene = Scene()
    before = set(scene.told())
    for event in events:
        scene.figures.receive_event(event)
    for text in texts:
        scene.figures.receive_event(ended(text, subject=text))
        scene.figures.receive_refusal(errors.Refusal(text, 1, text))
    assert set(scene.told()) == before
    assert len(before) < MOST_SERIES
