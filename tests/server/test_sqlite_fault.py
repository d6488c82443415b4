"""Old versions are warned of, once a start; fixed ones are not."""

from structlog.testing import capture_logs

from server.sqlite_fault import has_wal_reset_fault, warn_of_sqlite


def test_versions_before_the_fix_have_the_fault():
    assert has_wal_reset_fault((3, 40, 1))
    assert has_wal_reset_fault((3, 51, 2))
    assert not has_wal_reset_fault((3, 51, 3))


def test_a_start_with_an_old_one_is_warned_of():
    with capture_logs() as logs:
        warn_of_sqlite((3, 40, 1))
        warn_of_sqlite((3, 51, 3))
    [line] = logs
    assert (line["log_level"], line["sqlite"]) == ("warning", "3.40.1")
