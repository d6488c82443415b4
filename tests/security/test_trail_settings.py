"""Settings in; what is wrong with them out."""

from security.trail_settings import TrailSettings, trail_faults


def test_the_defaults_have_no_fault():
    assert trail_faults(TrailSettings()) == []


def test_a_copy_of_checkpoints_is_a_file(tmp_path):
    wrong = TrailSettings(checkpoint_copies=(tmp_path / "new", tmp_path))
    assert trail_faults(wrong) == ["checkpoint_copies: names a file, not a folder"]


def test_what_must_be_at_least_one_is_told_together():
    wrong = TrailSettings(checkpoint_every_s=0, checkpoint_every_rows=0, segment_rows=0)
    assert trail_faults(wrong) == [
        "checkpoint_every_s: at least 1",
        "checkpoint_every_rows: at least 1",
        "segment_rows: at least 1",
    ]
