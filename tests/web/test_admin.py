"""The dashboard in a real browser, against a server whose trail is a list."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from server import errors
from tests.web import admin_data
from tests.web.admin_page import opened_admin
from tests.web.admin_server import AdminServer, token
from tests.web.scripted_server import serving


@pytest.fixture
def server() -> Iterator[AdminServer]:
    fake = AdminServer()
    with serving(fake):
        yield fake


@pytest.fixture
def admin(server) -> AdminServer:
    server.scopes = ("admin", "audit")
    return server


# --- the token ---


def test_the_token_leaves_the_address_at_once_and_is_sent_as_a_header(browser, server):
    with opened_admin(browser, server, f"#token={token()}", is_signed_in=False) as page:
        expect(page.locator("#place h1")).to_have_text("Overview")
        assert page.url == f"{server.address}admin"
        assert server.tokens == {token()}
        assert not any("token" in asked for asked in server.asked)


def test_a_token_can_be_pasted_and_is_kept_for_the_tab(browser, server):
    with opened_admin(browser, server, is_signed_in=False) as page:
        expect(page.locator("#token-form")).to_contain_text("run.py token mint --scope audit")
        page.locator("#token-field").fill(token())
        page.keyboard.press("Enter")
        expect(page.locator("#person-name")).to_have_text("auditor · 52 min left")
        page.reload()
        expect(page.locator("#person-name")).to_be_visible()


def test_signing_out_forgets_the_token_and_what_was_shown(browser, server):
    with opened_admin(browser, server, is_signed_in=False) as page:
        page.locator("#token-field").fill(token())
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#token-form")).to_be_visible()
        expect(page.locator("#place")).to_be_empty()
        assert page.evaluate("() => sessionStorage.length") == 0


@pytest.mark.parametrize(
    ("refusal", "shown", "words"),
    [
        (errors.UNAUTHENTICATED, token(expires_s=1), "The token has expired."),
        (errors.UNAUTHENTICATED, token(audience="earwitness"), "The token is for transcription"),
        (errors.FORBIDDEN, token(scopes="transcribe"), "it lacks the scope audit"),
        (errors.UNAUTHENTICATED, token(), "The server does not accept this token."),
        (errors.REVOKED, token(), "The token was revoked."),
    ],
    ids=["expired", "audience", "scope", "other", "revoked"],
)
def test_a_refused_token_is_explained_and_another_asked_for(browser, server, refusal, shown, words):
    server.denial = refusal
    with opened_admin(browser, server, f"#token={shown}", is_signed_in=False) as page:
        expect(page.locator("#problem")).to_contain_text(words)
        expect(page.locator("#problem")).to_contain_text("run.py token mint --scope audit")
        expect(page.locator("#token-form")).to_be_visible()
        assert page.evaluate("() => sessionStorage.length") == 0


def test_what_is_not_a_token_is_not_sent(browser, server):
    with opened_admin(browser, server, is_signed_in=False) as page:
        page.locator("#token-field").fill("not a token")
        page.keyboard.press("Enter")
        expect(page.locator("#problem")).to_contain_text("That is not a token")
    assert server.asked == []


def test_a_server_that_fails_is_told_and_the_token_is_kept(browser, server):
    server.denial = errors.INTERNAL
    with opened_admin(browser, server) as page:
        expect(page.locator("#problem")).to_contain_text("The server failed")
        expect(page.locator("#token-form")).to_be_hidden()


# --- overview ---


def test_the_overview_says_first_whether_there_is_something_to_look_at(browser, server):
    with opened_admin(browser, server) as page:
        expect(page.locator(".state-head")).to_have_text(
            "4 findings in the last 24 hours. The gravest is high."
        )
        expect(page.locator(".state")).to_contain_text("41,203 events, signed 12 min ago")


def test_a_quiet_day_is_told_as_one(browser, server):
    server.findings, server.state["chain"]["is_auditor_key_here"] = [], False
    with opened_admin(browser, server) as page:
        expect(page.locator(".state-head")).to_have_text("Nothing stands out in the last 24 hours.")
        expect(page.locator(".state")).to_have_attribute("data-tone", "good")


def test_a_trail_that_fails_is_what_is_seen_first(browser, server):
    server.findings = []
    server.state["chain"] |= {"is_failing": True, "n_lost": 12}
    with opened_admin(browser, server) as page:
        expect(page.locator(".state")).to_have_attribute("data-tone", "bad")
        expect(page.locator(".state")).to_contain_text("The trail itself needs a look")
        expect(page.locator(".checks")).to_contain_text("12 events could not be written")


def test_totals_are_those_of_the_period_that_is_chosen(browser, server):
    with opened_admin(browser, server) as page:
        report = admin_data.report(24, [])["totals"]
        expect(page.locator(".quarter .big").nth(0)).to_have_text(f"{report['sessions']:,}")
        expect(page.locator(".quarter .big").nth(2)).to_have_text(f"{report['refusals']:,}")
        page.get_by_role("link", name="30 days").click()
        month = admin_data.report(720, [])["totals"]
        expect(page.locator(".quarter .big").nth(0)).to_have_text(f"{month['sessions']:,}")
        assert page.url.endswith("#overview?hours=720")


def test_a_chart_names_the_value_under_the_pointer(browser, server):
    with opened_admin(browser, server) as page:
        chart = page.locator(".trend-box").nth(2)
        box = chart.locator(".plot").bounding_box()
        page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 60)
        last = admin_data.report(24, [])["trend"]["buckets"][-1]
        expect(chart.locator(".caption")).to_have_text(
            f"Tue 24 Nov 14:00\u201315:00: {last['refusals']}"
        )
        page.mouse.move(0, 0)
        expect(chart.locator(".caption")).to_contain_text("against the time before")


def test_less_than_an_hour_of_audio_is_told_in_minutes_and_seconds(browser, server):
    lengths_ms = (0, 40_000, 90_000, 24 * 60_000, 90 * 60_000)
    with opened_admin(browser, server) as page:
        ask = f"import('/admin_format.js').then((it) => {list(lengths_ms)}.map(it.hours))"
        assert page.evaluate(ask) == ["0 s", "40 s", "1.5 min", "24 min", "1.5 h"]


def test_a_chart_is_a_table_for_who_wants_one(browser, server):
    with opened_admin(browser, server) as page:
        chart = page.locator(".trend-box").first
        chart.get_by_text("As a table").click()
        rows = chart.locator("tbody tr")
        expect(rows).to_have_count(24)
        first = admin_data.report(24, [])["trend"]["buckets"][0]
        expect(rows.first).to_contain_text(str(first["sessions"]))


def test_a_stretch_of_a_chart_opens_its_events(browser, server):
    with opened_admin(browser, server) as page:
        page.locator(".plot").nth(2).focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        expect(page.locator("#place h1")).to_have_text("Events")
        since = admin_data.report(24, [])["trend"]["buckets"][-2]["at_ms"]
        until = since + admin_data.HOUR_MS
        assert page.url.endswith(f"#events?event=handshake.refused&since={since}&until={until}")


def test_without_figures_the_latencies_are_not_there(browser, server):
    server.latencies = None
    with opened_admin(browser, server) as page:
        expect(page.get_by_text("How soon words come")).to_be_hidden()
        expect(page.get_by_text("Refusals by address")).to_be_visible()


def test_a_quota_that_is_nearly_used_up_stands_out(browser, server):
    with opened_admin(browser, server) as page:
        bars = page.locator(".bars").first.locator("li")
        expect(bars.first).to_contain_text("7.6 h of 8 h")
        expect(bars.first).to_have_class(re.compile("tone-wrong"))
        expect(bars.nth(1)).to_have_class(re.compile("tone-second"))


def test_an_event_is_there_when_it_happens(browser, server):
    with opened_admin(browser, server) as page:
        expect(page.locator(".feed-state")).to_have_text("Live")
        made = server.add("handshake.refused", outcome="failure", reason="token_expired")
        line = page.locator(".feed li").first
        expect(line).to_have_attribute("data-seq", str(made["seq"]))
        expect(line).to_contain_text("Refused at the door token_expired")
        expect(page.locator(".feed li")).to_have_count(12)


# --- findings ---


def test_a_finding_leads_to_its_events_and_whom_it_is_about(browser, server):
    with opened_admin(browser, server, "#findings") as page:
        first = page.locator(".finding").first
        expect(first).to_contain_text("Many failed attempts from one address")
        expect(first).to_contain_text("The address was blocked.")
        expect(first).to_contain_text("and 15 more")
        first.get_by_role("link", name="#361").click()
        expect(page.locator("#place h1")).to_have_text("Event 361")
        page.go_back()
        page.locator(".finding").first.get_by_role("link", name="192.0.2.44").click()
        assert page.url.endswith("#events?address=192.0.2.44")


# --- events ---


def test_a_filter_can_be_linked_to(browser, server):
    place = "#events?event=handshake.*&address=10.20.4.17"
    with opened_admin(browser, server, place) as page:
        kept = [
            each
            for each in server.events
            if each["event"] == "handshake.refused" and each["address"] == "10.20.4.17"
        ]
        expect(page.locator("tbody tr")).to_have_count(len(kept))
        expect(page.locator("summary")).to_have_text("Filters (2)")
        page.get_by_role("button", name="Remove the filter Address").click()
        assert page.url.endswith("#events?event=handshake.*")


def test_a_filter_that_is_filled_in_stands_in_the_address(browser, server):
    with opened_admin(browser, server, "#events") as page:
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Subject").fill("ward-7")
        page.get_by_label("From (UTC)").fill("2026-11-24T13:00")
        page.get_by_role("button", name="Show").click()
        since = admin_data.NOW_MS - 65 * 60_000
        page.wait_for_url(f"**/admin#events?subject=ward-7&since={since}")
        expect(page.locator(".chip")).to_have_count(2)


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("since=abc", "From (UTC)", "It has to be a time."),
        ("event=session.flown", "Event", "There is no event or family of this name."),
        ("since=2000&until=1000", "To (UTC)", "not before the other"),
    ],
)
def test_a_wrong_filter_is_told_and_can_be_mended(browser, server, query, field, words):
    with opened_admin(browser, server, f"#events?{query}") as page:
        expect(page.locator("#problem")).to_contain_text(f"The filter {field} cannot")
        expect(page.locator("#problem")).to_contain_text(words)
        expect(page.locator("[aria-invalid]")).to_be_visible()
        page.get_by_role("button", name=f"Remove the filter {field}").click()
        expect(page.locator("#problem")).to_be_hidden()


def test_older_events_are_a_page_of_their_own(browser, server):
    with opened_admin(browser, server, "#events") as page:
        expect(page.locator("tbody tr")).to_have_count(50)
        page.get_by_role("link", name="Older").click()
        expect(page.locator("tbody tr").first).to_have_attribute("data-seq", "350")
        expect(page.locator(".live-box")).to_be_hidden()
        page.get_by_role("link", name="Newest").click()
        expect(page.locator("tbody tr").first).to_have_attribute("data-seq", "400")


def test_the_list_goes_on_by_itself_unless_it_is_paused(browser, server):
    with opened_admin(browser, server, "#events?event=ticket.issued") as page:
        expect(page.locator(".feed-state")).to_have_text("Live")
        before = page.locator("tbody tr").count()
        server.add("ticket.issued", subject="li.na")
        server.add("session.started", subject="li.na")
        expect(page.locator("tbody tr")).to_have_count(before + 1)
        page.get_by_role("button", name="Pause").click()
        server.add("ticket.issued", subject="li.na")
        expect(page.get_by_role("button", name="Go on")).to_contain_text("1 new")
        expect(page.locator("tbody tr")).to_have_count(before + 1)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("tbody tr")).to_have_count(before + 2)


def test_a_feed_that_breaks_begins_again_where_it_was(browser, server):
    with opened_admin(browser, server, "#events") as page:
        expect(page.locator(".feed-state")).to_have_text("Live")
        server.feeds_break = True
        expect(page.locator(".feed-state")).not_to_have_text("Live")
        made = server.add("ticket.issued", subject="li.na")
        expect(page.locator("tbody tr").first).to_have_attribute("data-seq", str(made["seq"]))
        feeds = [asked for asked in server.asked if "/admin/feed" in asked]
        assert [asked.rpartition("after=")[2] for asked in feeds] == ["400", "400"]


def test_too_many_feeds_are_told_and_the_list_stays(browser, server):
    server.feed_denial = errors.OVERLOADED
    with opened_admin(browser, server, "#events") as page:
        expect(page.locator(".feed-state")).to_contain_text("too many watch already")
        expect(page.locator("tbody tr")).to_have_count(50)


def test_an_event_shows_all_that_the_trail_holds_of_it(browser, server):
    event = next(each for each in server.events if each["event"] == "session.ended")
    with opened_admin(browser, server, f"#events/{event['seq']}") as page:
        facts = page.locator(".facts")
        for value in (event["session_id"], event["token_hash"], event["address"], "Close code"):
            expect(facts).to_contain_text(value)
        page.get_by_role("link", name="All of this session").click()
        assert page.url.endswith(f"#events?session_id={event['session_id']}")


def test_an_event_that_is_not_there_is_told(browser, server):
    with opened_admin(browser, server, "#events/99999") as page:
        expect(page.locator("#place")).to_contain_text("no event of this number")


@pytest.mark.parametrize("kind", ["ndjson", "csv", "ocsf"])
def test_an_export_is_of_what_is_shown(browser, server, kind):
    with opened_admin(browser, server, "#events?outcome=failure") as page:
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Export as {kind.upper()}").click()
        lines = download.value.path().read_text().splitlines()
        kept = [each["seq"] for each in server.events if each["outcome"] == "failure"]
        assert [json.loads(line)["seq"] for line in lines] == kept
        assert f"GET /admin/export?outcome=failure&format={kind}" in server.asked
        expect(page.get_by_text("Exported.")).to_be_visible()


def test_exports_of_each_kind_have_names_of_their_own(browser, server):
    with opened_admin(browser, server, "#events") as page:
        names = set()
        for kind in ("NDJSON", "OCSF"):
            with page.expect_download() as download:
                page.get_by_role("button", name=f"Export as {kind}").click()
            names.add(download.value.suggested_filename)
            expect(page.get_by_text("Exported.")).to_be_visible()
        assert sorted(name.partition(".")[2] for name in names) == ["ndjson", "ocsf.ndjson"]


def test_a_finding_in_the_list_has_the_mark_of_its_severity(browser, server):
    with opened_admin(browser, server, "#events?event=suspicion.found") as page:
        row = page.locator("tr.failed")
        expect(row.locator(".outcome")).to_have_class("outcome outcome-finding severity-high")
        expect(row.locator(".outcome")).to_have_text("high")


def test_refusals_that_were_counted_together_say_how_many(browser, server):
    server.add("handshake.refused_often", outcome="failure", detail={"n_refused": 1234})
    with opened_admin(browser, server, "#events?event=handshake.refused_often") as page:
        expect(page.locator("tbody tr")).to_contain_text("1,234 times")
        page.get_by_role("link", name="Refused again and again").click()
        expect(page.locator("#place")).to_contain_text("How many refusals")


def test_that_somebody_looks_is_not_what_happens(browser, server):
    server.add("ticket.issued", subject="ward-7")
    server.add("trail.read", subject="auditor", detail={"what": "overview"})
    with opened_admin(browser, server) as page:
        expect(page.locator(".feed li").first).to_contain_text("Ticket issued")
        server.add("trail.read", subject="auditor", detail={"what": "feed"})
        server.add("session.started", subject="ward-7")
        expect(page.locator(".feed li").first).to_contain_text("Session began")
        expect(page.locator(".feed")).not_to_contain_text("Trail read")


# --- sessions ---


def test_a_session_that_ends_says_so_and_cannot_be_ended_again(browser, admin):
    admin.ends_slowly = True
    with opened_admin(browser, admin, "#sessions") as page:
        page.get_by_role("button", name="End: anna.weber").click()
        page.get_by_role("button", name="End the session").click()
        card = page.locator(".session", has_text="anna.weber")
        expect(card).to_contain_text("ending…")
        for button in card.get_by_role("button").all():
            expect(button).to_be_disabled()


def test_a_session_is_ended_only_after_a_question(browser, admin):
    with opened_admin(browser, admin, "#sessions") as page:
        end = page.get_by_role("button", name="End: anna.weber")
        end.click()
        expect(page.get_by_role("dialog")).to_contain_text("End this session?")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert admin.done == []
        end.click()
        page.get_by_role("button", name="End the session").click()
        expect(page.locator(".session")).to_have_count(2)
        expect(page.locator("#announcer")).to_have_text("The session was ended.")
        assert admin.done == [("end", admin_data.hash_of(90)[:24])]


@pytest.mark.parametrize(
    ("button", "body"),
    [
        ("Revoke token: ward-7", {"token_id": "t-1", "issuer": "earwitness"}),
        ("Revoke subject: ward-7", {"subject": "ward-7", "issuer": "earwitness"}),
    ],
)
def test_a_token_or_a_subject_is_revoked_by_its_name(browser, admin, button, body):
    with opened_admin(browser, admin, "#sessions") as page:
        page.get_by_role("button", name=button).click()
        page.get_by_role("button", name="Revoke", exact=True).click()
        expect(page.locator("#announcer")).to_have_text("Revoked; one session ends.")
        assert admin.done == [("revoke", body)]


def test_a_block_is_lifted(browser, admin):
    with opened_admin(browser, admin, "#sessions") as page:
        page.get_by_role("button", name="Unblock: 192.0.2.44").click()
        page.get_by_role("dialog").get_by_role("button", name="Unblock").click()
        expect(page.locator(".blocks")).to_have_text("No address is blocked.")
        assert admin.done == [("unblock", "192.0.2.44")]


def test_who_only_reads_is_told_what_it_takes_to_act(browser, server):
    with opened_admin(browser, server, "#sessions") as page:
        end = page.get_by_role("button", name="End: anna.weber")
        expect(end).to_have_attribute("aria-disabled", "true")
        end.click(force=True)
        expect(page.locator("#problem")).to_contain_text("token mint --scope admin")
        expect(page.get_by_role("dialog")).to_be_hidden()
    assert server.done == []


def test_a_refused_act_is_told_in_its_question(browser, server):
    server.scopes = ("admin", "audit")
    with opened_admin(browser, server, "#sessions") as page:
        page.get_by_role("button", name="End: anna.weber").click()
        server.scopes = ("audit",)
        page.get_by_role("button", name="End the session").click()
        expect(page.locator("#asking-problem")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".session")).to_have_count(3)


# --- trail and keys ---


def test_the_state_of_the_trail_is_told_in_words(browser, server):
    server.state["chain"] |= {"gaps": 2, "write_lag_ms": 2400.0}
    server.state["keys"]["slots"] = ["file:9c41d2"]
    with opened_admin(browser, server, "#trail") as page:
        checks = page.locator(".checks")
        for words in (
            "Signed 12 min ago",
            "The trail has 2 gaps.",
            "The auditor\u2019s key still lies on this server",
            "Writes wait 2.4 s: the disk is too slow.",
            "One key alone opens the pack",
            "The signing key is 41 d old",
        ):
            expect(checks).to_contain_text(words)
        expect(page.locator(".facts").last).to_contain_text("5f3a-91c2-77d0-e4b8")


def test_every_refusal_that_the_page_can_get_has_words(browser, server):
    with opened_admin(browser, server) as page:
        for refusal in (
            *(errors.UNAUTHENTICATED, errors.FORBIDDEN, errors.REVOKED, errors.ORIGIN_REFUSED),
            *(errors.OVERLOADED, errors.BAD_REQUEST, errors.INTERNAL),
        ):
            words = "async (code) => (await import('./admin_texts.js')).texts.problems[code]"
            assert page.evaluate(words, refusal.code), refusal.code
