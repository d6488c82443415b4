"""Rows of a trail in; what looks as if something was tried out, and nothing of what does not."""

import random
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.audit_events import EVENT_NAMES
from security.rules import (
    GUESSED,
    NOT_AUTHENTICATED,
    RULES,
    RULES_BY_NAME,
    WATCHED_EVENTS,
)
from security.suspicion import Suspicion, SuspicionSettings, network_of
from tests.security.trails import HOUR_NS, NOON_NS, record

S_NS = 10**9
DAY_NS = 24 * HOUR_NS
ADDRESS = "203.0.113.9"


def refused(reason, seq=1, at_s=0, address=ADDRESS, event="handshake.refused", **columns):
    columns = {"reason": reason, "address": address, **columns}
    return record(seq, event, "failure", NOON_NS + int(at_s * S_NS), **columns)


def found(records, given_settings=None):
    """Rule, number of the row that led to it, and whether it blocks."""
    suspicion = Suspicion(given_settings or SuspicionSettings())
    return [
        (finding.rule, each.seq, finding.is_block)
        for each in records
        for finding in suspicion.receive(each)
    ]


def of_rule(rule, records, given_settings=None):
    return [seq for name, seq, _ in found(records, given_settings) if name == rule]


def times(n, reason, every_s=1, **columns):
    return [refused(reason, seq, seq * every_s, **columns) for seq in range(1, n + 1)]


def test_every_rule_is_named_once_and_its_threshold_is_a_setting():
    assert len(RULES_BY_NAME) == len(RULES)
    known = {field.name for field in fields(SuspicionSettings)}
    assert {rule.setting for rule in RULES} - known == {None}


def test_every_watched_event_is_one_of_the_trail():
    assert set(WATCHED_EVENTS) <= set(EVENT_NAMES.values())


def test_an_address_is_suspicious_after_five_failures_and_blocked_after_ten():
    name = "failures_of_address"
    assert found(times(4, "token_bad_signature")) == []
    assert found(times(5, "token_bad_signature")) == [(name, 5, False)]
    assert found(times(9, "token_bad_signature")) == [(name, 5, False)]
    assert found(times(30, "token_bad_signature")) == [(name, 5, False), (name, 10, True)]


def test_failures_that_are_far_apart_are_no_burst():
    assert found(times(50, "token_bad_signature", every_s=76)) == []
    assert of_rule("failures_of_address", times(50, "token_bad_signature", every_s=75))


def test_what_goes_on_is_found_again_when_the_window_is_over():
    seqs = of_rule("failures_of_address", times(700, "token_malformed"))
    assert seqs == [5, 10, 311, 612]


@pytest.mark.parametrize("reason", sorted(NOT_AUTHENTICATED - GUESSED))
def test_credentials_that_were_genuine_or_missing_never_block(reason):
    assert found(times(200, reason))[0] == ("failures_of_address", 5, False)
    assert not any(is_block for *_, is_block in found(times(200, reason)))


def test_a_page_cannot_get_its_visitors_blocked_by_pictures_with_tickets_in_their_address():
    seen = found(times(30, "ticket_unknown"))
    assert ("failures_of_address", 5, False) in seen
    assert not any(is_block for *_, is_block in seen)


@pytest.mark.parametrize("reason", sorted(GUESSED))
def test_credentials_that_were_guessed_block(reason):
    assert ("failures_of_address", 10, True) in found(times(10, reason))


@pytest.mark.parametrize(
    "reason", ["engine_full", "address_blocked", "shutting_down", "too_many_sessions", "form_parts"]
)
def test_refusals_that_say_nothing_of_a_credential_are_no_failures(reason):
    assert found(times(50, reason)) == []


def test_refusals_that_were_counted_together_count_as_many():
    often = {"event": "handshake.refused_often"}
    tally = refused("token_bad_signature", 1, n_refused=4, **often)
    assert found([tally]) == []
    assert found([refused("token_bad_signature", 1, n_refused=5, **often)])[0][2] is False
    assert found([refused("token_bad_signature", 1, n_refused=999, **often)]) == [
        ("failures_of_address", 1, True)
    ]


def test_refusals_of_many_addresses_are_found_and_block_nobody():
    often = {"event": "handshake.refused_often", "address": None, "n_refused": 5000}
    assert found([refused("many_addresses", **often)]) == [("many_addresses", 1, False)]
    assert found([refused("token_malformed", **often)]) == [("failures_of_address", 1, False)]


def test_the_machines_of_one_ipv6_customer_are_one_address():
    rows = [refused("token_malformed", n, n, f"2001:db8:1:2::{n:x}") for n in range(1, 6)]
    assert found(rows) == [("failures_of_address", 5, False)]
    apart = [refused("token_malformed", n, n, f"2001:db8:1:{n:x}::1") for n in range(1, 50)]
    assert found(apart) == []


@pytest.mark.parametrize("event", ["handshake.refused", "session.refresh_refused"])
def test_a_subject_is_suspicious_after_five_failures(event):
    rows = [
        refused("revoked", n, n, f"10.0.0.{n}", subject="ward", event=event) for n in range(1, 6)
    ]
    assert found(rows[:4]) == []
    assert found(rows) == [("failures_of_subject", 5, False)]


def test_rights_that_a_subject_does_not_have_are_failures_of_its():
    rows = [refused("scope_missing", n, n, f"10.0.0.{n}", subject="ward") for n in range(1, 6)]
    assert found(rows) == [("failures_of_subject", 5, False)]


def test_several_subjects_that_are_refused_from_one_address_are_suspicious():
    rows = [refused("scope_missing", n, n, subject=f"s-{n}") for n in range(1, 6)]
    assert found(rows[:4]) == []
    assert found(rows) == [("subjects_of_address", 5, False)]
    same = [refused("scope_missing", n, n, subject=f"s-{n % 4}") for n in range(1, 17)]
    assert "subjects_of_address" not in [rule for rule, *_ in found(same)]


def shown(seq, address, at_s=0, event="session.started", token="t"):  # noqa: S107 (a hash)
    at_utc_ns = NOON_NS + int(at_s * S_NS)
    return record(seq, event, at_utc_ns=at_utc_ns, token_hash=token, address=address, subject="a")


@pytest.mark.parametrize(
    "event", ["session.started", "ticket.issued", "authentication.succeeded", "handshake.refused"]
)
def test_one_token_from_two_addresses_is_suspicious(event):
    rows = [shown(1, "10.0.0.1"), shown(2, "10.0.0.2", 3600, event)]
    assert found(rows) == [("token_in_two_places", 2, False)]
    suspicion = Suspicion(SuspicionSettings())
    suspicion.receive(rows[0])
    [finding] = suspicion.receive(rows[1])
    assert (finding.seqs, finding.n_events, finding.subject) == ((1, 2), 2, "a")
    assert (finding.first_utc_ns, finding.last_utc_ns) == (NOON_NS, NOON_NS + HOUR_NS)


def test_one_token_that_moves_after_a_while_is_not():
    assert found([shown(1, "10.0.0.1"), shown(2, "10.0.0.2", 3601)]) == []


def test_one_token_that_goes_to_and_fro_is_found_once():
    rows = [shown(n, f"10.0.0.{n % 2}", n) for n in range(1, 40)]
    assert of_rule("token_in_two_places", rows) == [2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("10.0.0.1", None),
        ("10.0.0.1", ""),
        ("nowhere", "nowhere"),
    ],
)
def test_addresses_of_one_peer_are_one_place(one, other):
    assert found([shown(1, one), shown(2, other, 1)]) == []


def test_the_end_and_the_refresh_of_a_session_are_no_other_place():
    rows = [shown(1, "10.0.0.1"), shown(2, "10.0.0.2", 1, "session.ended")]
    assert found([*rows, shown(3, "10.0.0.3", 2, "session.refreshed")]) == []


def test_a_ticket_that_was_used_is_suspicious_at_once():
    assert found(times(3, "ticket_replayed", subject="ward")) == [("ticket_replayed", 1, False)]


@pytest.mark.parametrize(
    "reason", ["token_unknown_key", "token_wrong_algorithm", "token_wrong_type"]
)
def test_unknown_keys_and_algorithms_are_suspicious_after_three(reason):
    assert found(times(2, reason)) == []
    assert found(times(4, reason)) == [("unknown_keys", 3, False)]


@pytest.mark.parametrize("reason", ["origin_refused", "ticket_of_other_origin"])
def test_wrong_origins_are_suspicious_after_three(reason):
    assert found(times(2, reason)) == []
    assert found(times(4, reason)) == [("wrong_origins", 3, False)]


def limited(seq, at_s, event="session.ended", reason="quota_audio", subject="ward"):
    at_utc_ns = NOON_NS + at_s * S_NS
    return record(seq, event, "failure", at_utc_ns, reason=reason, subject=subject)


def test_limits_that_are_reached_three_times_an_hour_are_suspicious():
    rows = [limited(1, 0), limited(2, 1800, "handshake.refused", "too_many_sessions")]
    assert found(rows) == []
    assert found([*rows, limited(3, 3600, reason="too_fast")]) == [("limits_reached", 3, False)]
    assert found([*rows, limited(3, 3601, reason="too_fast")]) == []
    assert found([*rows, limited(3, 3600, reason="idle")]) == []
    assert found([*rows, limited(3, 3600, subject="desk")]) == []
    assert found([*rows, limited(3, 3600, subject=None)]) == []


def sessions(days=12, a_day=6):
    """A subject who works in the morning and speaks for five minutes each time."""
    seq = 0
    for day in range(days):
        for n in range(a_day):
            at_utc_ns = NOON_NS + day * DAY_NS - 4 * HOUR_NS + n * HOUR_NS // 3
            named = {"session_id": f"s-{seq}", "subject": "ward", "address": "10.0.0.1"}
            yield record(seq + 1, "session.started", at_utc_ns=at_utc_ns, **named)
            yield record(seq + 2, "session.ended", at_utc_ns=at_utc_ns, audio_ms=300_000, **named)
            seq += 2


def test_a_session_at_an_unusual_hour_is_found():
    at_utc_ns = NOON_NS + 12 * DAY_NS + 10 * HOUR_NS
    night = record(999, "session.started", at_utc_ns=at_utc_ns, subject="ward", address="10.0.0.1")
    assert found([*sessions(), night]) == [("unusual_hour", 999, False)]
    assert found([*sessions(a_day=3), night]) == []


def test_a_session_of_unusual_length_and_a_day_of_unusual_volume_are_found():
    at_utc_ns = NOON_NS + 12 * DAY_NS - 4 * HOUR_NS

    def long(audio_ms):
        columns = {"subject": "ward", "audio_ms": audio_ms}
        return [*sessions(), record(999, "session.ended", at_utc_ns=at_utc_ns, **columns)]

    assert found(long(899_999)) == []
    assert found(long(900_000)) == [("unusual_length", 999, False)]
    assert found(long(10_000_000)) == [
        ("unusual_length", 999, False),
        ("unusual_volume", 999, False),
    ]


@pytest.mark.parametrize(
    ("row", "is_found"),
    [
        (record(1, "model.refused", "failure", reason="bad_segment"), True),
        (record(1, "model.refused", "failure", reason="older_version"), True),
        (record(1, "model.refused", "failure", reason="no_slot"), False),
        (record(1, "model.refused", "failure", reason="unreadable"), False),
        (record(1, "trail.verified", "failure", problems=1), True),
        (record(1, "trail.verified", problems=0), False),
    ],
)
def test_whatever_is_not_what_it_was_is_critical(row, is_found):
    findings = Suspicion(SuspicionSettings()).receive(row)
    assert [(each.rule, each.severity) for each in findings] == [
        ("integrity", "critical")
    ] * is_found


def test_each_failure_of_integrity_is_found_beside_the_others():
    rows = [
        record(1, "trail.verified", "failure", problems=1),
        record(2, "model.refused", "failure", reason="bad_segment"),
        record(3, "model.refused", "failure", reason="bad_signature"),
        record(4, "model.refused", "failure", reason="bad_signature"),
    ]
    assert of_rule("integrity", rows) == [1, 2, 3]


def test_a_gap_is_found_and_is_not_said_to_be_tampering():
    [finding] = Suspicion(SuspicionSettings()).receive(record(1, "trail.gap", "failure"))
    assert (finding.rule, finding.severity) == ("gap", "high")
    assert RULES_BY_NAME["gap"].text == "Events were lost while the trail could not be written."


def test_the_table_of_rules_is_the_one_that_is_written_down():
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| (?:`(\w+)` = [\d.]+|any) \|$", page, re.MULTILINE
    )
    rules = [(each.name, each.severity, each.looks_at, each.setting or "") for each in RULES]
    assert told == rules


def test_thresholds_are_settings():
    mild = SuspicionSettings(failures_of_address=2, failures_to_block=3, window_s=10)
    assert found(times(3, "token_malformed"), mild) == [
        ("failures_of_address", 2, False),
        ("failures_of_address", 3, True),
    ]
    one = SuspicionSettings(failures_of_address=5, failures_to_block=1)
    assert found(times(5, "token_malformed"), one) == [("failures_of_address", 5, True)]


def test_no_seconds_of_a_block_are_no_block():
    assert SuspicionSettings().is_blocking
    assert not SuspicionSettings(block_s=0).is_blocking


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unix", "unix"),
        ("10.0.0.1/x", "10.0.0.1/x"),
        ("", ""),
    ],
)
def test_an_address_stands_for_one_peer(address, network):
    assert network_of(address) == network


ANY_ROW = st.builds(
    lambda event, reason, who, at_s, audio_s, n: record(
        1,
        event,
        "failure",
        NOON_NS + at_s * S_NS,
        reason=reason,
        subject=who[0],
        address=who[1],
        token_hash=who[2],
        audio_ms=audio_s * 1000,
        n_refused=n,
    ),
    st.sampled_from([*WATCHED_EVENTS, "server.started"]),
    st.sampled_from([None, "", "bad_segment", *sorted(NOT_AUTHENTICATED), "origin_refused"]),
    st.tuples(*[st.one_of(st.none(), st.integers(0, 99).map(str))] * 3),
    st.integers(-(10**6), 10**6),
    st.integers(0, 10**5),
    st.one_of(st.none(), st.just("many"), st.integers(-1, 10**6)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_ROW, max_size=200))
def test_the_same_rows_give_the_same_findings_and_hold_a_bounded_number(rows):
    first, second = (Suspicion(SuspicionSettings(), most_keys=5) for _ in range(2))
    assert [first.receive(row) for row in rows] == [second.receive(row) for row in rows]
    assert first.n_held <= 5 * len(RULES)


def test_a_flood_of_different_peers_holds_a_bounded_number():
    suspicion, draw = Suspicion(SuspicionSettings(), most_keys=100), random.Random(1)  # noqa: S311
    for seq in range(5000):
        address = f"10.{draw.randrange(256)}.{draw.randrange(256)}.1"
        row = refused(
            "ticket_replayed", seq, seq / 10, address, subject=str(seq), token_hash=str(seq)
        )
        suspicion.receive(row)
    assert suspicion.n_held <= 100 * len(RULES)
