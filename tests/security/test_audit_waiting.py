"""Events that wait for a moment, for too long or in vain in; what each is told out."""

import asyncio

import pytest

from security.audit import row_of
from security.audit_events import ServerStarted
from security.audit_waiting import WRITE_LIMIT_S, Losses, Waiting, WaitingEvents
from security.errors import AuditError


@pytest.fixture
def losses():
    return Losses()


@pytest.fixture
def queue(losses):
    return WaitingEvents(4, losses)


def waits(queue, since_s, at_utc_ns=0):
    queue.check_room(at_utc_ns)
    future = asyncio.get_running_loop().create_future()
    queue.add(Waiting(at_utc_ns, row_of(ServerStarted("1")), since_s, future))
    return future


async def test_a_batch_is_told_its_numbers(queue):
    futures = [waits(queue, 0) for _ in range(3)]
    assert len(queue.take(2)) == 2
    queue.settle(7)
    assert [future.result() for future in futures[:2]] == [7, 8]
    assert len(queue) == 1


async def test_who_waits_too_long_is_told_and_leaves_the_queue(queue, losses):
    late, soon = waits(queue, 0), waits(queue, 0.5)
    assert queue.expire(WRITE_LIMIT_S) == 0.5 + WRITE_LIMIT_S
    assert isinstance(late.exception(), AuditError)
    assert not soon.done()
    assert [each.seq for each in queue.take(9)] == [soon]
    assert losses.n_lost == 1
    assert losses.gap.reason == "too_slow"


async def test_what_the_disk_has_is_lost_only_if_the_disk_says_so(queue, losses):
    held, failed = waits(queue, 0), waits(queue, 0)
    queue.take(1)
    queue.expire(5)
    assert isinstance(held.exception(), AuditError)
    assert isinstance(failed.exception(), AuditError)
    assert losses.n_lost == 1
    assert queue.lag_s(5) == 5
    queue.settle(1)
    assert (losses.n_lost, queue.lag_s(5)) == (1, 0)
    assert queue.expire(9) is None


async def test_one_too_many_is_refused(queue, losses):
    for _ in range(4):
        waits(queue, 0)
    with pytest.raises(AuditError, match="does not keep up"):
        waits(queue, 0, at_utc_ns=9)
    assert losses.gap.first_lost_utc_ns == 9


async def test_what_was_lost_while_a_gap_was_written_is_the_next_one(losses):
    for at_utc_ns in (5, 3):
        losses.add(at_utc_ns, "disk")
    gap = losses.gap
    assert (gap.n_events, gap.first_lost_utc_ns, gap.last_lost_utc_ns) == (2, 3, 5)
    losses.add(8, "locked")
    losses.forget(gap)
    assert (losses.gap.n_events, losses.gap.last_lost_utc_ns, losses.gap.reason) == (1, 8, "locked")
    losses.forget(losses.gap)
    assert (losses.gap, losses.n_lost) == (None, 3)


async def test_whoever_waits_for_work_is_woken_by_it_or_by_the_time(queue):
    await queue.until_some(0.01)
    queue.wake()
    await queue.until_some(60)
    queue.take(1)
    waits(queue, 0)
    await queue.until_some(60)
    assert len(queue) == 1
    queue.refuse_all("closed")
    assert len(queue) == 0
