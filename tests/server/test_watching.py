"""A trail that grows in; findings noted in it and addresses blocked out, also after a restart."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog

from security.audit import row_of
from security.errors import AuditError
from security.rules import WATCHED_EVENTS
from security.suspicion import SuspicionSettings
from server.watching import Watching
from tests.security.trails import NOON_NS, record

NOON_S = NOON_NS / 10**9
ADDRESS = "203.0.113.9"


class FakeTrail:
    """A store and a reader over a list."""

    def __init__(self, *rows):
        self.rows = []
        self.asked = []
        self.n_failures = self.n_headless = 0
        self.grown = asyncio.Event()
        self.add(*rows)

    def add(self, *rows):
        for row in rows:
            self.rows.append(replace(row, seq=len(self.rows) + 1))
        self.grown.set()

    async def note(self, event):
        row = row_of(event)
        columns = {name: getattr(row, name) for name in ("subject", "address", "reason")}
        self.add(record(0, row.event, row.outcome, NOON_NS, **columns, **json.loads(row.detail)))

    async def until_beyond(self, seq):
        if self.n_headless:
            self.n_headless -= 1
            raise AuditError("the head")
        while len(self.rows) <= seq:
            self.grown.clear()
            await self.grown.wait()
        return len(self.rows)

    async def newest_seq(self):
        if self.n_failures:
            self.n_failures -= 1
            raise AuditError("the disk")
        return len(self.rows)

    async def records(self, wanted, *, limit, before_seq=None, after_seq=0):
        self.asked.append(wanted)
        end = (before_seq or len(self.rows) + 1) - 1
        fitting = [row for row in self.rows[after_seq:end] if row.event in wanted.event]
        since_ns = wanted.since_utc_ns or 0
        return [row for row in fitting if row.at_utc_ns >= since_ns][:limit]

    async def batches(self, wanted, *, after_seq=0):
        while rows := await self.records(wanted, limit=3, after_seq=after_seq):
            yield rows
            after_seq = rows[-1].seq

    def noted(self, event="suspicion.found"):
        return [row for row in self.rows if row.event == event]


class FakeBlocks:
    def __init__(self, *never):
        self.never = never
        self.until_s = {}

    def block(self, address, until_s):
        if address in self.never:
            return False
        self.until_s[address] = until_s
        return True


def tries(n, reason="token_bad_signature", address=ADDRESS, at_s=0.0):
    at_utc_ns = NOON_NS + int(at_s * 10**9)
    columns = {"reason": reason, "address": address, "at_utc_ns": at_utc_ns}
    return [record(0, "handshake.refused", "failure", **columns)] * n


@asynccontextmanager
async def watched(trail, blocks=None, settings=None, wall_s=NOON_S):
    watching = Watching(
        trail, trail, blocks or FakeBlocks(), settings or SuspicionSettings(), lambda: wall_s,
        pause_s=0.001,
    )  # fmt: skip
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watching.run())
        yield watching
        task.cancel()


async def settled(watching, trail):
    """Until the rules have seen every row, also those that they led to."""
    async with asyncio.timeout(5):
        while watching.seq < len(trail.rows):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)


async def test_what_is_found_is_noted_with_its_rule_and_its_events():
    trail = FakeTrail()
    async with watched(trail) as watching:
        trail.add(*tries(5))
        await settled(watching, trail)
    [found] = trail.noted()
    assert (found.address, found.subject) == (ADDRESS, None)
    assert found.detail == {
        "rule": "failures_of_address",
        "severity": "high",
        "n_events": 5,
        "seqs": "1 2 3 4 5",
        "level": 1,
    }


async def test_an_address_that_guesses_is_blocked_and_that_is_noted():
    trail, blocks = FakeTrail(), FakeBlocks()
    async with watched(trail, blocks) as watching:
        trail.add(*tries(10))
        await settled(watching, trail)
    assert blocks.until_s == {ADDRESS: NOON_S + 1800}
    [blocked] = trail.noted("address.blocked")
    assert blocked.address == ADDRESS
    assert blocked.detail == {"block_s": 1800, "rule": "failures_of_address"}
    found = trail.noted("suspicion.found")
    levels = [
        each.detail["level"] for each in found if each.detail["rule"] == blocked.detail["rule"]
    ]
    assert levels == [1, 2]


async def test_of_an_ipv6_network_its_first_address_is_blocked():
    trail, blocks = FakeTrail(), FakeBlocks()
    async with watched(trail, blocks) as watching:
        trail.add(*tries(10, address="2001:db8::/64"))
        await settled(watching, trail)
    assert list(blocks.until_s) == ["2001:db8::"]


async def test_whom_nobody_blocks_is_not_noted_as_blocked():
    trail, blocks = FakeTrail(), FakeBlocks(ADDRESS)
    async with watched(trail, blocks) as watching:
        trail.add(*tries(10))
        await settled(watching, trail)
    assert trail.noted("address.blocked") == []
    assert len(trail.noted()) == 2


async def test_without_blocking_findings_are_noted_all_the_same():
    trail, blocks = FakeTrail(), FakeBlocks()
    async with watched(trail, blocks, SuspicionSettings(block_s=0)) as watching:
        trail.add(*tries(10))
        await settled(watching, trail)
    assert (blocks.until_s, len(trail.noted())) == ({}, 2)


async def test_refusals_of_many_addresses_block_nobody():
    trail, blocks = FakeTrail(), FakeBlocks()
    async with watched(trail, blocks) as watching:
        trail.add(*tries(20, address=None))
        await settled(watching, trail)
    assert (blocks.until_s, len(trail.noted())) == ({}, 1)


async def test_only_watched_events_are_read():
    trail = FakeTrail()
    async with watched(trail) as watching:
        trail.add(record(event="server.started"), *tries(1))
        await settled(watching, trail)
    own = {"suspicion.found", "address.blocked", "address.unblocked"}
    assert {name for wanted in trail.asked for name in wanted.event} == {*WATCHED_EVENTS, *own}


async def test_more_rows_than_a_page_are_all_seen():
    trail = FakeTrail()
    async with watched(trail) as watching:
        trail.add(*[row for n in range(400) for row in tries(5, address=f"10.0.{n}.1")])
        await settled(watching, trail)
    assert len(trail.noted()) == 400


async def test_at_a_start_what_is_on_record_is_not_noted_again():
    trail = FakeTrail()
    async with watched(trail) as watching:
        trail.add(*tries(10))
        await settled(watching, trail)
    n_rows = len(trail.rows)
    async with watched(trail) as watching:
        await settled(watching, trail)
        assert len(trail.rows) == n_rows
        trail.add(*tries(1))
        await settled(watching, trail)
    assert len(trail.rows) == n_rows + 1


async def test_at_a_start_what_the_former_one_did_not_come_to_is_noted():
    trail, blocks = FakeTrail(*tries(10)), FakeBlocks()
    async with watched(trail, blocks) as watching:
        await settled(watching, trail)
    assert len(trail.noted()) == 2
    assert blocks.until_s == {ADDRESS: NOON_S + 1800}


@pytest.mark.parametrize(("hours_later", "n_noted"), [(23.9, 1), (24.1, 0)])
async def test_findings_of_long_ago_are_not_made_up_for(hours_later, n_noted):
    trail = FakeTrail(*tries(5))
    async with watched(trail, wall_s=NOON_S + hours_later * 3600) as watching:
        await settled(watching, trail)
    assert len(trail.noted()) == n_noted


async def test_what_began_before_the_start_goes_on_after_it():
    trail = FakeTrail(*tries(4))
    async with watched(trail) as watching:
        await settled(watching, trail)
        assert trail.noted() == []
        trail.add(*tries(1))
        await settled(watching, trail)
    assert len(trail.noted()) == 1


def blocked(address=ADDRESS, event="address.blocked"):
    return record(0, event, address=address, block_s=1800)


async def test_blocks_that_would_still_hold_are_put_back():
    trail, blocks = FakeTrail(blocked(), blocked("2001:db8::5")), FakeBlocks()
    async with watched(trail, blocks, wall_s=NOON_S + 1799) as watching:
        await settled(watching, trail)
    assert blocks.until_s == {ADDRESS: NOON_S + 1800, "2001:db8::": NOON_S + 1800}
    assert len(trail.rows) == 2


async def test_blocks_that_are_over_or_were_taken_back_are_not():
    trail = FakeTrail(blocked(), blocked("2001:db8::5"))
    trail.add(blocked("2001:db8::/64", "address.unblocked"))
    for wall_s, addresses in ((NOON_S + 1799, [ADDRESS]), (NOON_S + 1801, [])):
        blocks = FakeBlocks()
        async with watched(trail, blocks, wall_s=wall_s) as watching:
            await settled(watching, trail)
        assert list(blocks.until_s) == addresses


async def test_a_trail_that_cannot_be_read_is_told_once_and_tried_again():
    trail = FakeTrail(*tries(4))
    trail.n_failures = 3
    with structlog.testing.capture_logs() as logs:
        async with watched(trail) as watching:
            await settled(watching, trail)
            trail.n_failures = 3
            trail.add(*tries(1))
            await settled(watching, trail)
    assert len(trail.noted()) == 1
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("error", "the trail cannot be read: nobody watches for suspicious events")
    ] * 2


async def test_a_head_that_cannot_be_read_ends_neither_the_watch_nor_the_server():
    trail = FakeTrail(*tries(4))
    trail.n_headless = 2
    async with watched(trail) as watching:
        trail.add(*tries(1))
        await settled(watching, trail)
    assert (len(trail.noted()), trail.n_headless) == (1, 0)
