"""Trails of several segments and a day in; what goes, what stays, and that it verifies still."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from security.errors import AuditError
from security.retention import (
    PROFILES,
    expired_segments,
    kept_days,
    remove_segment,
    write_tombstone,
)
from security.verify_trail import verify_folder
from tests.security.test_verify_tampering import change
from tests.security.trails import DAY_NS, SIGNING, make_trail, means_of

LATER_NS = 5000 * DAY_NS


@pytest.fixture
def places(tmp_path):
    """Rows of 100 a day; closed but for the last segment."""
    trail = make_trail(tmp_path)
    for path in trail.places.segment_files()[:-1]:
        path.chmod(0o400)
    return trail.places


def expired(places, now_utc_ns=LATER_NS, days=30):
    return expired_segments(places, SIGNING.public_key(), "dev", days, now_utc_ns)


def extent(found):
    return [(each.rows.first_seq, each.rows.last_seq) for each in found]


def test_each_profile_keeps_as_long_as_its_rule_asks():
    assert {name: profile.days for name, profile in PROFILES.items()} == {
        "pci": 400,
        "hipaa": 2192,
        "cn": 180,
        "dev": 30,
    }
    assert all(profile.rule for profile in PROFILES.values())


def test_more_days_may_be_asked_and_fewer_not():
    assert kept_days("cn", None) == kept_days("cn", 180) == 180
    assert kept_days("cn", 9999) == 9999
    with pytest.raises(AuditError, match="180 days at least"):
        kept_days("cn", 179)
    with pytest.raises(AuditError, match="pci, hipaa, cn, dev"):
        kept_days("none", None)


def test_all_but_the_open_segment_may_go_when_it_is_old(places):
    assert extent(expired(places)) == [(1, 20), (21, 41)]


def test_a_segment_stays_until_its_newest_row_is_old(places):
    newest_ns = 20 * DAY_NS // 100
    assert extent(expired(places, newest_ns + 30 * DAY_NS)) == []
    assert extent(expired(places, newest_ns + 30 * DAY_NS + 1)) == [(1, 20)]
    assert extent(expired(places, newest_ns + 30 * DAY_NS + 1, days=31)) == []


def test_what_somebody_still_writes_to_stays_and_all_behind_it(places):
    places.segment_files()[0].chmod(0o600)
    assert expired(places) == []


def test_what_goes_leaves_a_trail_that_verifies_and_says_so(places):
    for each in expired(places):
        note = write_tombstone(places, each, SIGNING, LATER_NS)
        assert places.checkpoints_file.read_text().endswith(note)
        assert verify_folder(places.folder, means_of(places)).problems == ()
        remove_segment(each)
        result = verify_folder(places.folder, means_of(places))
        assert result.problems == ()
        first, last = each.rows.first_seq, each.rows.last_seq
        assert f"rows {first} to {last} were let go (dev), as signed" in result.checked
    assert expired(places) == []


def test_a_tombstone_is_made_once(places):
    [first, _] = expired(places)
    note = write_tombstone(places, first, SIGNING, LATER_NS)
    text = places.checkpoints_file.read_text()
    assert write_tombstone(places, first, SIGNING, LATER_NS + 9) == note
    assert places.checkpoints_file.read_text() == text


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events WHERE seq = 20",
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET note = 'x'",
        "DELETE FROM segment",
        "DROP TABLE events",
    ],
)
def test_a_segment_whose_end_is_not_what_was_signed_stays(places, statement):
    path = places.segment_files()[0]
    path.chmod(0o600)
    if statement.startswith("DROP"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
    else:
        change(path, statement)
    path.chmod(0o400)
    with pytest.raises(AuditError, match="not what was signed"):
        expired(places)


def test_a_next_segment_that_begins_elsewhere_keeps_the_one_before(places):
    first, second, _ = places.segment_files()
    second.chmod(0o600)
    change(second, "UPDATE segment SET former_mac = zeroblob(32)")
    with pytest.raises(AuditError, match=first.name):
        expired(places)
    change(second, "UPDATE segment SET frontier = x''")
    with pytest.raises(AuditError):
        expired(places)
    shutil.copy(places.segment_files()[2], second)
    with pytest.raises(AuditError):
        expired(places)
