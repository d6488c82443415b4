"""What those who watch are told, who they are, and what the trail says of them afterwards."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from security.audit import AuditRecord, row_of
from security.audit_events import ModelOpened, TrailExported, TrailGap, TrailRead
from security.door_events import AddressUnblocked, HandshakeRefused, TicketIssued
from security.errors import AuditError
from security.report import FoundRow, Report
from server import errors
from server.admin import admin_routes
from server.dashboard import MOST_EXPORTS, MOST_QUESTIONS, dashboard_routes
from server.feed import FeedSettings
from server.live import LiveSession
from server.overview import KeysSeen, Latency, Overview
from server.session_values import Caller
from tests.fakes import GRANT, ManualClock
from tests.joined import NOW_S, Joined, bearer
from tests.server.listening import listening as serving

WEB_FOLDER = Path(__file__).parents[2] / "web"
NS = 1_000_000_000
AUDIT = {"subject": "olga", "scopes": {"audit"}}
ADMIN = {"subject": "root", "scopes": {"admin"}}
PATHS = ("overview", "report", "state", "events", "events/1", "feed", "export", "blocks")


class Signed:
    n_rows, at_utc_ns = 3, int(NOW_S * NS)


class Trail:
    """Rows in a list; follows what `grow` adds."""

    def __init__(self) -> None:
        self.rows: list[AuditRecord] = []
        self.fails = False
        self.n_asked = 0
        self.n_lost, self.is_failing, self.write_lag_s = 0, False, 0.0004
        self.newest_checkpoint = Signed()
        self._grown = asyncio.Event()

    def grow(self, *events) -> None:
        for event in events:
            row = row_of(event)
            columns = {name: getattr(row, name) for name in row.__slots__}
            columns["detail"] = json.loads(row.detail)
            seq = len(self.rows) + 1
            self.rows.append(AuditRecord(seq, int(NOW_S * NS) + seq * NS, **columns))
        self._grown.set()

    @property
    def newest_seq(self) -> int:
        return len(self.rows)

    async def until_beyond(self, seq):
        while self.newest_seq <= seq:
            self._grown.clear()
            await self._grown.wait()
        return self.newest_seq

    async def records(self, wanted=None, *, limit=100, before_seq=None, after_seq=None):
        self.n_asked += 1
        if self.fails:
            raise AuditError("unreadable")
        kept = [row for row in self.rows if self._fits(row, wanted)]
        kept = [row for row in kept if before_seq is None or row.seq < before_seq]
        kept = [row for row in kept if after_seq is None or row.seq > after_seq]
        return kept[:limit] if after_seq is not None else kept[-limit:]

    async def record(self, seq):
        return next((row for row in await self.records() if row.seq == seq), None)

    async def batches(self, wanted=None, *, after_seq=0):
        rows = await self.records(wanted, limit=10_000, after_seq=after_seq)
        for at in range(0, len(rows), 2):
            yield rows[at : at + 2]

    async def audio_ms_since(self, at_utc_ns):
        assert at_utc_ns == int(NOW_S // 86_400) * 86_400 * NS
        return {("tests", "alice"): 60_000, ("tests", "bob"): 90_000}

    @staticmethod
    def _fits(row, wanted) -> bool:
        if wanted is None:
            return True
        names = ("outcome", "session_id", "subject", "address", "token_hash", "reason")
        is_like = all(getattr(wanted, n) in {None, getattr(row, n)} for n in names)
        is_late = wanted.since_utc_ns is None or row.at_utc_ns >= wanted.since_utc_ns
        is_early = wanted.until_utc_ns is None or row.at_utc_ns < wanted.until_utc_ns
        return is_like and is_late and is_early and (not wanted.event or row.event in wanted.event)


def report_of(since_ns, until_ns):
    found = FoundRow(
        *(9, since_ns, "unknown_keys", "high", None, "198.51.100.7", 3, (4, 5, 6), "Keys."),
    )
    return Report(
        since_utc_ns=since_ns,
        until_utc_ns=until_ns,
        bucket_ns=3600 * NS,
        n_events=9,
        n_succeeded=8,
        n_failed=1,
        n_sessions=4,
        audio_ms=7000,
        n_refused=1,
        reasons=(),
        events=(),
        subjects=(),
        addresses=(),
        trend=(),
        n_findings=1,
        findings_by_rule={},
        findings=(found,),
    )


class Scene(Joined):
    """The dashboard with everything around it in the hand."""

    def __init__(self, folder, **feed) -> None:
        super().__init__(folder)
        paced = {"most_feeds": 2, "heartbeat_s": 0.05, "pause_s": 0, "most_behind_rows": 50, **feed}
        self.trail, self.n_reports, self.clock = Trail(), 0, ManualClock()
        self.stages = Overview(
            reception=self.reception,
            live=self.live,
            blocks=self.blocks,
            log=self,
            trail=self.trail,
            rows=self.trail,
            make_report=self.make_report,
            look_at_keys=lambda: KeysSeen(True, 2, ("file:a",), "k-1", NOW_S),
            is_revoked=self.revoking.is_revoked,
            clock=self.clock,
            wall_clock=lambda: self.wall_s,
            default_audio_s_per_day=120,
            feed=FeedSettings(**paced),
        )
        routes = [*dashboard_routes(self.stages, WEB_FOLDER), *admin_routes(self.office)]
        self.app = Starlette(routes=routes)

    async def make_report(self, since_ns, until_ns):
        self.n_reports += 1
        return report_of(since_ns, until_ns)

    @asynccontextmanager
    async def client(self, **claims):
        transport = httpx2.ASGITransport(self.app, client=("198.51.100.9", 5))
        headers = bearer(**claims) if claims else {}
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://testserver", headers=headers
        ) as client:
            yield client


def refused(reason="token_expired", address="198.51.100.7"):
    return HandshakeRefused(address, 5, None, None, 401, reason)


def ended(subject="alice"):
    return TicketIssued(subject, "tests", "t-1", "198.51.100.7", 5, None, None)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


# --- who may ---


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_is_told_anything_without_a_token(scene, path):
    async with scene.client() as client:
        assert (await client.get(f"/admin/{path}")).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_who_transcribes_does_not_watch(scene, path):
    async with scene.client(subject="alice") as client:
        answered = await client.get(f"/admin/{path}")
    assert (answered.status_code, answered.json()["code"]) == (403, "forbidden")


async def test_who_administers_may_watch_too(scene):
    async with scene.client(**ADMIN) as client:
        assert (await client.get("/admin/state")).json()["me"]["scopes"] == ["admin"]


async def test_who_watches_may_see_the_sessions_and_do_nothing(scene):
    async with scene.client(**AUDIT) as client:
        assert (await client.get("/admin/sessions")).status_code == 200
        assert (await client.delete("/admin/sessions/s-1")).status_code == 403
        assert (await client.delete("/admin/blocks/198.51.100.7")).status_code == 403
        assert (await client.post("/admin/revocations", json={})).status_code == 403


async def test_the_page_talks_to_its_own_server_alone(scene):
    async with scene.client() as client:
        page = await client.get("/admin")
    policy = page.headers["content-security-policy"]
    assert "connect-src 'self';" in policy
    assert "default-src 'none'; script-src 'self';" in policy


async def test_the_page_needs_no_token_and_no_microphone(scene):
    async with scene.client() as client:
        page = await client.get("/admin")
    assert "<title>Earwitness" in page.text
    assert "microphone=()" in page.headers["permissions-policy"]


@pytest.mark.parametrize("path", [*(path for path in PATHS if path != "feed"), "sessions"])
async def test_nothing_is_kept_on_the_way(scene, path):
    scene.trail.grow(refused())
    async with scene.client(**AUDIT) as client:
        assert (await client.get(f"/admin/{path}")).headers["cache-control"] == "no-store"


# --- on record ---


async def test_looking_is_on_record_once_for_each_kind_of_question(scene):
    async with scene.client(**AUDIT) as client:
        for path in ("overview", "overview", "events", "events?limit=5", "overview"):
            await client.get(f"/admin/{path}")
    assert scene.records_of(TrailRead) == [
        TrailRead("olga", "overview", "198.51.100.9"),
        TrailRead("olga", "events", "198.51.100.9"),
    ]


async def test_each_export_is_on_record_with_how_much_it_was(scene):
    scene.trail.grow(refused(), refused(), ended())
    async with scene.client(**AUDIT) as client:
        await client.get("/admin/export?format=csv&outcome=failure")
        await client.get("/admin/export")
    assert scene.records_of(TrailRead, TrailExported) == [
        TrailRead("olga", "export", "198.51.100.9"),
        TrailExported("olga", "csv", 2, "198.51.100.9"),
        TrailRead("olga", "export", "198.51.100.9"),
        TrailExported("olga", "ndjson", 3, "198.51.100.9"),
    ]


async def test_an_export_of_each_kind_has_a_name_of_its_own(scene):
    async with scene.client(**AUDIT) as client:
        asked = [await client.get(f"/admin/export?format={kind}") for kind in ("ndjson", "ocsf")]
    names = [each.headers["content-disposition"].partition("=")[2] for each in asked]
    assert names == ["earwitness-trail.ndjson", "earwitness-trail.ocsf.ndjson"]


async def test_a_trail_that_cannot_be_written_can_be_looked_at_but_not_taken_away(scene):
    async with scene.client(**AUDIT) as client:
        scene.trail_fails = True
        assert (await client.get("/admin/events")).status_code == 200
        for _ in range(MOST_EXPORTS + 1):
            answered = await client.get("/admin/export")
            assert answered.json()["code"] == "trail_unavailable"


async def test_a_trail_that_cannot_be_read_is_told(scene):
    scene.trail.fails = True
    async with scene.client(**AUDIT) as client:
        answered = await client.get("/admin/events")
    assert (answered.status_code, answered.json()["code"]) == (503, "trail_unavailable")


# --- what is told ---


async def test_the_overview_is_added_up_once_for_all_who_ask_within_seconds(scene):
    async with scene.client(**AUDIT) as client:
        first = (await client.get("/admin/overview?hours=24")).json()
        await client.get("/admin/overview?hours=24")
        assert scene.n_reports == 1
        scene.clock.move(6)
        await client.get("/admin/overview?hours=24")
        assert scene.n_reports == 2
        former = (await client.get("/admin/former?hours=24")).json()
    assert first["report"]["totals"]["sessions"] == former["sessions"] == 4
    assert first["report"]["until_ms"] - first["report"]["since_ms"] == 24 * 3_600_000


async def test_a_finding_says_its_rule_and_whether_its_address_is_blocked(scene):
    scene.blocks.block("198.51.100.7", NOW_S + 60)
    async with scene.client(**AUDIT) as client:
        [found] = (await client.get("/admin/report?hours=24")).json()["findings"]
        [block] = (await client.get("/admin/blocks")).json()["blocks"]
    assert (found["rule"], found["sentence"], found["seqs"]) == ("unknown_keys", "Keys.", [4, 5, 6])
    assert found["is_block"] is True
    assert block == {"address": "198.51.100.7", "until_ms": int(NOW_S + 60) * 1000}


async def test_quotas_are_those_of_the_sessions_that_live_else_the_default(scene):
    class Peer:
        grant = replace(GRANT, limits=replace(GRANT.limits, audio_s_per_day=600))

    living = LiveSession("s-1", Caller("198.51.100.7", None, None), NOW_S, Peer())
    with scene.live.running(living):
        async with scene.client(**AUDIT) as client:
            quotas = (await client.get("/admin/overview")).json()["quotas"]
    assert [(q["subject"], q["audio_ms"], q["most_audio_ms"]) for q in quotas] == [
        ("bob", 90_000, 120_000),
        ("alice", 60_000, 600_000),
    ]


async def test_latencies_are_told_where_somebody_measures(scene):
    async with scene.client(**AUDIT) as client:
        assert (await client.get("/admin/overview")).json()["latencies"] is None
        scene.stages.figures = lambda: [Latency("final", 9, 1.0, 2.0, 3.0)]
        [latency] = (await client.get("/admin/overview")).json()["latencies"]
    assert latency == {"name": "final", "n": 9, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}


async def test_the_state_is_that_of_trail_model_and_keys(scene):
    scene.trail.grow(
        ModelOpened("tiny.en", 3, "5f3a", "file:a"), TrailGap(4, 1, 2, "disk_full"), refused()
    )
    async with scene.client(**AUDIT) as client:
        state = (await client.get("/admin/state")).json()
    assert state["chain"] == {
        "newest_seq": 3,
        "checkpoint": {"size": 3, "at_ms": int(NOW_S) * 1000},
        "segments": 2,
        "n_lost": 0,
        "gaps": 1,
        "is_failing": False,
        "write_lag_ms": 0.4,
        "is_auditor_key_here": True,
    }
    assert state["keys"]["slots"] == ["file:a"]
    assert (state["keys"]["model"], state["keys"]["publisher"]) == ("tiny.en", "5f3a")


# --- events ---


async def test_events_come_a_page_at_a_time_the_newest_first(scene):
    scene.trail.grow(*(refused() for _ in range(5)))
    async with scene.client(**AUDIT) as client:
        first = (await client.get("/admin/events?limit=2")).json()
        last = (await client.get("/admin/events?limit=2&before=2")).json()
    assert [each["seq"] for each in first["events"]] == [5, 4]
    assert (first["has_more"], first["newest_seq"]) == (True, 5)
    assert [each["seq"] for each in last["events"]] == [1]
    assert last["has_more"] is False


async def test_a_long_page_of_events_keeps_nobody_waiting(scene):
    scene.trail.grow(*(refused() for _ in range(500)))
    n_turns = 0

    async def others():
        nonlocal n_turns
        while True:
            await asyncio.sleep(0)
            n_turns += 1

    async with scene.client(**AUDIT) as client, asyncio.TaskGroup() as tasks:
        turning = tasks.create_task(others())
        await client.get("/admin/events?limit=1")
        before, n_turns = n_turns, 0
        await client.get("/admin/events?limit=500")
        turning.cancel()
    assert n_turns >= before + 500 // 50 - 1


async def test_an_event_is_told_whole(scene):
    scene.trail.grow(refused("origin_refused"))
    async with scene.client(**AUDIT) as client:
        event = (await client.get("/admin/events/1")).json()
        assert (await client.get("/admin/events/2")).status_code == 404
    assert event["at"] == "1970-01-12T13:46:41.000000000Z"
    assert (event["at_ms"], event["reason"]) == (int(NOW_S + 1) * 1000, "origin_refused")
    assert event["detail"]["http_status"] == 401


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("event=ticket.issued", [3]),
        ("outcome=failure&reason=token_expired", [1]),
        ("subject=alice", [3]),
        ("event=ticket.issued&event=handshake.refused", [3, 2, 1]),
        ("address=198.51.100.7&event=handshake.refused,ticket.issued", [3, 2, 1]),
        (f"since={int(NOW_S + 2) * 1000}&until={int(NOW_S + 3) * 1000}", [2]),
        ("subject=' OR 1=1 --", []),
    ],
)
async def test_filters_must_all_hold(scene, query, seqs):
    scene.trail.grow(refused(), refused("origin_refused"), ended())
    async with scene.client(**AUDIT) as client:
        answered = await client.get(f"/admin/events?{query}")
    assert [each["seq"] for each in answered.json()["events"]] == seqs


@pytest.mark.parametrize(
    "path",
    [
        *("events?limit=0", "events?limit=501", "events?limit=x", "events?before=-1"),
        *("events?outcome=maybe", "events?colour=red", "events?limit=5&limit=6", "events?subject="),
        f"events?subject={'a' * 257}",
        f"events?event={','.join('a' * 40)}",
        *(f"{kind}?event={','.join('a' * 40)}" for kind in ("feed", "export")),
        *("overview?hours=0", "overview?hours=100000", "export?format=xml", "feed?after=x"),
    ],
)
async def test_what_is_not_a_question_is_refused(scene, path):
    async with scene.client(**AUDIT) as client:
        assert (await client.get(f"/admin/{path}")).status_code == 400


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        *(("since=abc", "since"), ("until=-1", "until"), ("limit=501", "limit")),
        *(("event=session.flown", "event"), ("event=flown.*", "event"), ("event=*", "event")),
        *(("limit=5&limit=6", "limit"), ("since=7&until=6", "until"), ("outcome=maybe", "outcome")),
        *(("colour=red", None), ("colour=1&colour=2", None), ("__class__=1", None)),
    ],
)
async def test_a_wrong_parameter_is_named_and_nothing_of_the_peers(scene, query, parameter):
    async with scene.client(**AUDIT) as client:
        answered = await client.get(f"/admin/events?{query}")
    text = errors.BAD_REQUEST.text
    wrong = {"code": "bad_request", "message": text, "parameter": parameter}
    assert (answered.status_code, answered.json()) == (400, wrong)


@pytest.mark.parametrize("kind", ["feed", "export"])
async def test_what_is_not_a_question_takes_no_place(scene, kind):
    query = f"event={','.join('a' * 40)}"
    async with scene.client(**AUDIT) as client:
        for _ in range(MOST_EXPORTS + scene.stages.feed.most_feeds):
            assert (await client.get(f"/admin/{kind}?{query}")).status_code == 400
        assert (await client.get("/admin/export")).status_code == 200
    async with listening(scene) as feed:
        await feed.next("heartbeat")


@pytest.mark.parametrize("number", ["x", "-1", "9" * 19, "9" * 24, str(1 << 63), "9" * 5000, "٣"])
async def test_what_is_no_number_of_an_event_is_none(scene, number):
    async with scene.client(**AUDIT) as client:
        assert (await client.get(f"/admin/events/{number}")).status_code == 404


async def test_only_so_many_questions_wait_to_be_answered(scene):
    may_end = asyncio.Event()

    async def make_report(since_ns, until_ns):
        await may_end.wait()
        return report_of(since_ns, until_ns)

    scene.stages.make_report = make_report
    async with scene.client(**AUDIT) as client, asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(client.get(f"/admin/report?hours={hours}"))
            for hours in range(1, MOST_QUESTIONS + 1)
        ]
        await asyncio.sleep(0.1)
        answered = await client.get("/admin/events")
        assert (answered.status_code, answered.json()["code"]) == (503, "overloaded")
        may_end.set()
        assert {(await each).status_code for each in asked} == {200}
        assert (await client.get("/admin/events")).status_code == 200


# --- feeds ---


class Listening:
    """To a feed, line by line, over an application that is called directly."""

    def __init__(self, scene, query="after=0", **claims):
        self.lines: asyncio.Queue[dict] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.status = None
        self._app = scene.app
        headers = [(k.encode(), v.encode()) for k, v in bearer(**(claims or AUDIT)).items()]
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": "/admin/feed",
            "headers": headers,
            "query_string": query.encode(),
            "client": ("198.51.100.9", 5),
            "scheme": "http",
            "server": ("testserver", 80),
            "http_version": "1.1",
            "root_path": "",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
        }

    async def run(self):
        await self._app(self._scope, self._receive, self._send)
        await self.lines.put({"type": "closed"})

    async def _receive(self):
        if self._scope.pop("first", True) is True:
            self._scope["first"] = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.status = message.get("status", self.status)
        for line in message.get("body", b"").splitlines():
            await self.lines.put(json.loads(line))

    async def next(self, *kinds):
        async with asyncio.timeout(5):
            while (line := await self.lines.get())["type"] not in kinds:
                assert line["type"] == "heartbeat"
            return line


@asynccontextmanager
async def listening(scene, query="after=0", **claims):
    feed = Listening(scene, query, **claims)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed.run())
        try:
            yield feed
        finally:
            feed.gone.set()


async def test_a_feed_tells_what_was_missed_and_what_happens(scene):
    scene.trail.grow(refused(), refused())
    async with listening(scene, "after=1") as feed:
        assert (await feed.next("event"))["event"]["seq"] == 2
        scene.trail.grow(ended())
        assert (await feed.next("event"))["event"]["event"] == "ticket.issued"
        assert (await feed.next("heartbeat"))["seq"] == 3


async def test_a_feed_tells_only_what_is_wanted_and_how_far_it_has_looked(scene):
    async with listening(scene, "after=0&subject=alice") as feed:
        await feed.next("heartbeat")
        scene.trail.grow(refused(), refused())
        while (await feed.next("heartbeat"))["seq"] < 2:
            pass
        scene.trail.grow(ended(), ended("bob"))
        assert (await feed.next("event"))["event"]["seq"] == 3


async def test_who_falls_behind_is_told_and_goes_on_with_the_newest(scene):
    scene.stages.feed = replace(scene.stages.feed, batch_rows=10)
    scene.trail.grow(*(refused() for _ in range(100)))
    async with listening(scene) as feed:
        assert (await feed.next("skipped"))["n_events"] == 90
        assert (await feed.next("event"))["event"]["seq"] == 91


async def test_there_are_only_so_many_feeds_and_a_place_is_given_back(scene):
    async with listening(scene) as one, listening(scene) as other:
        await one.next("heartbeat")
        await other.next("heartbeat")
        async with scene.client(**AUDIT) as client:
            assert (await client.get("/admin/feed")).status_code == 503
    async with listening(scene) as again:
        await again.next("heartbeat")


async def test_one_subject_has_only_some_of_the_feeds(tmp_path):
    scene = Scene(tmp_path, most_of_subject=1)
    async with listening(scene) as one:
        await one.next("heartbeat")
        async with scene.client(**AUDIT) as client:
            assert (await client.get("/admin/feed")).json()["code"] == "overloaded"
        async with listening(scene, **{**AUDIT, "subject": "other"}) as other:
            await other.next("heartbeat")
    async with listening(scene) as again:
        await again.next("heartbeat")


async def test_a_feed_ends_when_its_token_does(scene):
    async with listening(scene, lifetime_s=1, **AUDIT) as feed:
        assert (await feed.next("end"))["reason"] == "token_expired"
        await feed.next("closed")


async def test_a_feed_ends_when_its_token_is_revoked(scene):
    async with listening(scene) as feed:
        await feed.next("heartbeat")
        async with scene.client(**ADMIN) as client:
            await client.post("/admin/revocations", json={"subject": "olga"})
        assert (await feed.next("end"))["reason"] == "revoked"


async def test_a_feed_ends_when_the_trail_can_be_read_no_more(scene):
    async with listening(scene) as feed:
        scene.trail.fails = True
        await feed.next("closed")


async def test_a_feed_ends_at_once_when_the_server_stops(scene):
    scene.stages.feed = replace(scene.stages.feed, heartbeat_s=60)
    async with listening(scene) as feed:
        await feed.next("heartbeat")
        await scene.live.drain(1)
        async with asyncio.timeout(1):
            assert (await feed.next("end"))["reason"] == "shutting_down"
            await feed.next("closed")


# --- acts ---


async def test_an_address_is_let_try_again_and_that_is_on_record(scene):
    scene.blocks.block("2001:db8::7", NOW_S + 60)
    async with scene.client(**ADMIN) as client:
        [block] = (await client.get("/admin/blocks")).json()["blocks"]
        path = "/admin/blocks/" + block["address"].replace("/", "%2F")
        assert (await client.delete(path)).json() == {"unblocked": True}
        assert (await client.delete(path)).status_code == 404
    assert scene.records_of(AddressUnblocked) == [AddressUnblocked("root", block["address"])]


async def test_an_export_that_is_broken_off_gives_its_place_back_and_is_on_record(scene):
    scene.trail.grow(*(refused() for _ in range(6)))

    async def break_off():
        async for batch in Trail.batches(scene.trail):
            yield batch
            raise AuditError("unreadable")

    scene.stages.rows.batches = lambda wanted: break_off()
    async with scene.client(**AUDIT) as client:
        for _ in range(MOST_EXPORTS + 1):
            with pytest.raises(AuditError):
                await client.get("/admin/export")
    assert scene.records_of(TrailExported)[-1] == TrailExported("olga", "ndjson", 2, "198.51.100.9")


async def test_an_export_that_is_given_up_before_it_begins_gives_its_place_back(scene):
    record, waits = scene.record, asyncio.Event()

    async def record_slowly(event):
        if isinstance(event, TrailRead):
            waits.set()
            await asyncio.sleep(60)
        return await record(event)

    scene.record = record_slowly
    async with scene.client(**AUDIT) as client:
        for _ in range(MOST_EXPORTS):
            waits.clear()
            task = asyncio.get_running_loop().create_task(client.get("/admin/export"))
            await waits.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        scene.record = record
        assert (await client.get("/admin/export")).status_code == 200


async def test_an_export_is_broken_off_when_its_token_is_revoked(scene):
    scene.trail.grow(*(refused() for _ in range(6)))

    async def revoked_meanwhile():
        async for batch in Trail.batches(scene.trail):
            yield batch
            async with scene.client(**ADMIN) as client:
                await client.post("/admin/revocations", json={"subject": "olga"})

    scene.stages.rows.batches = lambda wanted: revoked_meanwhile()
    async with scene.client(**AUDIT) as client:
        with pytest.raises(AssertionError):  # the answer has no end
            await client.get("/admin/export")
    assert scene.records_of(TrailExported) == [TrailExported("olga", "ndjson", 2, "198.51.100.9")]


async def test_an_export_is_broken_off_when_the_server_stops(scene):
    scene.trail.grow(*(refused() for _ in range(6)))

    async def stopped_meanwhile():
        async for batch in Trail.batches(scene.trail):
            yield batch
            await scene.live.drain(1)

    scene.stages.rows.batches = lambda wanted: stopped_meanwhile()
    async with scene.client(**AUDIT) as client:
        with pytest.raises(AssertionError):  # the answer has no end
            await client.get("/admin/export")
    assert scene.records_of(TrailExported) == [TrailExported("olga", "ndjson", 2, "198.51.100.9")]


@pytest.mark.parametrize("path", ["feed", "export"])
async def test_what_goes_on_ends_within_a_second_of_a_stop_and_is_no_fault(scene, path, caplog):
    scene.trail.grow(*(refused() for _ in range(6)))
    scene.stages.feed = replace(scene.stages.feed, heartbeat_s=60)

    async def slowly():
        while True:
            yield scene.trail.rows
            await asyncio.sleep(0.1)

    scene.stages.rows.batches = lambda wanted: slowly()
    token = bearer(**AUDIT)["authorization"].encode()
    async with serving(app=scene.app) as here:
        peer = await here.peer()
        await peer.say(
            b"GET /admin/%b HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n"
            b"Connection: close\r\n\r\n" % (path.encode(), token)
        )
        await peer.hear(b"handshake.refused")
        await scene.live.drain(1)
        async with asyncio.timeout(1):
            heard = await peer.rest()
    assert heard.endswith(b"0\r\n\r\n") == (path == "feed")  # an export is not whole
    assert caplog.messages == []
