"""Rows of every kind in; events with all that their class of the schema requires out.

What is required was read from the schema's own files (events/*.json and objects/*.json of OCSF):
the base event's attributes, and those of each class.
"""

import json

import pytest

from security.audit_events import EVENT_NAMES
from security.audit_export import ocsf_line
from security.ocsf import MAPPED, ocsf_event
from tests.security.test_audit_export import KINDS, row_of_kind
from tests.security.trails import NOON_NS, record

REQUIRED = {
    "activity_id",
    "category_uid",
    "class_uid",
    "metadata",
    "severity_id",
    "time",
    "type_uid",
}
REQUIRED_OF_CLASS = {
    3002: {"user"},
    3003: {"user"},
    6003: {"actor", "api", "src_endpoint"},
    6002: {"app"},
    2004: {"finding_info"},
    0: set(),
}
ONE_OF = {3002: {"service", "dst_endpoint"}, 3003: {"privileges", "groups", "iam_roles"}}
ACTIVITIES = {
    3002: {1, 2, 3, 4, 5, 6, 7, 99},
    3003: {1, 2, 3, 99},
    6003: {1, 2, 3, 4, 99},
    6002: {1, 2, 3, 4, 5, 6, 7, 8, 99},
    2004: {1, 2, 3, 99},
    0: {99},
}


def test_every_event_of_the_trail_has_its_place_in_the_table():
    assert set(MAPPED) == set(EVENT_NAMES.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_what_its_class_requires(kind):
    event = ocsf_event(row_of_kind(kind))
    class_uid = event["class_uid"]
    assert REQUIRED | REQUIRED_OF_CLASS[class_uid] <= event.keys()
    assert ONE_OF.get(class_uid, set(event)) & event.keys()
    assert event["category_uid"] == class_uid // 1000
    assert event["type_uid"] == class_uid * 100 + event["activity_id"]
    assert event["activity_id"] in ACTIVITIES[class_uid]
    assert ("activity_name" in event) == (event["activity_id"] == 99)
    assert event["severity_id"] in range(1, 6)
    assert event["status_id"] in {1, 2}
    assert event["time"] == NOON_NS // 10**6
    assert {"version", "product"} <= event["metadata"].keys()
    assert {"name", "vendor_name"} <= event["metadata"]["product"].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_schema_has_no_place_for_is_kept(kind):
    row = row_of_kind(kind)
    assert row.detail.items() <= ocsf_event(row)["unmapped"].items()
    assert json.loads(ocsf_line(row)) == json.loads(json.dumps(ocsf_event(row)))


@pytest.mark.parametrize("kind", KINDS)
def test_objects_have_what_they_require(kind):
    event = ocsf_event(row_of_kind(kind))
    for name in ("user", "app", "service"):
        assert event.get(name, {"name": "x"})["name"]
    if "actor" in event:
        assert {"user", "app_name"} & event["actor"].keys()
        assert event["api"]["operation"] == event["metadata"]["event_code"]
    if "src_endpoint" in event:
        assert {"ip", "name", "svc_name"} & event["src_endpoint"].keys()
    if "finding_info" in event:
        assert {"uid", "title"} <= event["finding_info"].keys()


def test_a_login_that_failed_names_the_reason_and_the_address():
    event = ocsf_event(
        record(3, "handshake.refused", "failure", reason="revoked", address="10.0.0.1", peer_port=9)
    )
    assert (event["type_uid"], event["status_id"], event["severity_id"]) == (300201, 2, 3)
    assert event["status_detail"] == "revoked"
    assert event["src_endpoint"] == {"ip": "10.0.0.1", "port": 9}
    assert event["user"] == {"name": "unknown"}


def test_a_session_names_its_subject_and_its_issuer():
    event = ocsf_event(
        record(3, "session.started", session_id="s-1", subject="ward", issuer="hospital")
    )
    assert event["session"] == {"uid": "s-1", "is_remote": True, "issuer": "hospital"}
    assert event["user"] == {"name": "ward"}
    assert "src_endpoint" not in event


def test_a_network_is_no_address():
    event = ocsf_event(record(1, "handshake.refused_often", address="2001:db8::/64"))
    assert event["src_endpoint"] == {"name": "2001:db8::/64"}
    assert "count" not in event


@pytest.mark.parametrize(("since_ms", "start_ms"), [(5, 5), (None, NOON_NS // 10**6)])
def test_refusals_that_were_counted_have_their_number_and_their_time(since_ms, start_ms):
    since_ns = since_ms and since_ms * 10**6
    event = ocsf_event(record(1, "handshake.refused_often", n_refused=4, since_utc_ns=since_ns))
    times = (event["start_time"], event["end_time"])
    assert (event["count"], *times) == (4, start_ms, NOON_NS // 10**6)


@pytest.mark.parametrize(
    ("severity", "severity_id"), [("low", 2), ("medium", 3), ("high", 4), ("critical", 5), ("?", 3)]
)
def test_a_finding_is_as_severe_as_its_rule(severity, severity_id):
    row = record(9, "suspicion.found", subject="ward", rule="unusual_hour", severity=severity)
    event = ocsf_event(row)
    assert (event["class_uid"], event["severity_id"]) == (2004, severity_id)
    assert event["finding_info"]["title"] == "unusual_hour"
    assert event["evidences"] == [{"user": {"name": "ward"}}]
    assert "evidences" not in ocsf_event(record(9, "suspicion.found", rule="integrity"))


def test_what_an_administrator_does_names_both():
    event = ocsf_event(record(1, "token.revoked", subject="ward", by="root", address="10.0.0.1"))
    assert event["actor"] == {"user": {"name": "root"}}
    assert event["resources"] == [{"type": "user", "name": "ward"}]


def test_a_row_of_a_newer_version_is_a_base_event():
    event = ocsf_event(record(1, "of.tomorrow", what="x"))
    assert (event["class_uid"], event["type_uid"], event["activity_name"]) == (0, 99, "Other")
    assert event["unmapped"]["what"] == "x"
