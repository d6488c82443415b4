"""Where documents go."""

import pytest

from client.errors import UnusableError
from client.outputs import Job, check_output, make_folder, plan_jobs, write_output


@pytest.fixture
def calls(tmp_path):
    """A folder of recordings, and of what is none."""
    folder = tmp_path / "calls"
    for name in ("b.wav", "a.FLAC", "may/c.mp3", "notes.txt", ".hidden.wav", ".git/d.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_gives_its_recordings_in_order_each_with_a_document_beside(calls):
    assert plan_jobs([calls], "srt", None) == [
        Job(calls / "a.FLAC", calls / "a.srt"),
        Job(calls / "b.wav", calls / "b.srt"),
        Job(calls / "may/c.mp3", calls / "may/c.srt"),
    ]


def test_in_another_folder_they_lie_as_they_lay(calls, tmp_path):
    outputs = [job.output for job in plan_jobs([calls], "txt", tmp_path / "out")]
    assert outputs == [tmp_path / "out" / name for name in ("a.txt", "b.txt", "may/c.txt")]


def test_a_file_is_taken_at_its_word_and_once(calls, tmp_path):
    odd = tmp_path / "odd.bin"
    jobs = plan_jobs([odd, odd, calls / "b.wav", calls], "txt", None)
    assert [job.recording.name for job in jobs] == ["odd.bin", "b.wav", "a.FLAC", "c.mp3"]


def test_two_that_would_get_one_name_keep_their_endings(calls):
    (calls / "b.mp3").touch()
    outputs = [job.output.name for job in plan_jobs([calls], "txt", None)]
    assert outputs == ["a.txt", "b.mp3.txt", "b.wav.txt", "c.txt"]


def test_two_of_one_name_are_not_written_over_each_other(tmp_path):
    with pytest.raises(UnusableError, match="one name"):
        plan_jobs([tmp_path / "x/a.wav", tmp_path / "y/a.wav"], "txt", tmp_path / "out")


def test_a_folder_without_recordings_is_told(tmp_path):
    with pytest.raises(UnusableError, match="no recordings"):
        plan_jobs([tmp_path], "txt", None)


def test_what_is_there_stays_unless_it_is_forced(tmp_path):
    path = tmp_path / "a.txt"
    write_output(path, "ü\n", is_forced=False)
    with pytest.raises(UnusableError, match="--force"):
        write_output(path, "new", is_forced=False)
    with pytest.raises(UnusableError, match="--force"):
        check_output(path, is_forced=False)
    assert path.read_bytes() == "ü\n".encode()
    check_output(path, is_forced=True)
    write_output(path, "new", is_forced=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_nowhere_is_there_too(tmp_path):
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnusableError, match="--force"):
        check_output(tmp_path / "a.txt", is_forced=False)
    with pytest.raises(UnusableError, match="--force"):
        write_output(tmp_path / "a.txt", "", is_forced=False)


def test_a_folder_is_made_for_a_batch_and_must_be_there_for_one_file(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UnusableError, match="file: File exists"):
        make_folder(tmp_path / "file")
    with pytest.raises(UnusableError, match="no such folder"):
        check_output(tmp_path / "none" / "a.txt", is_forced=False)


def test_a_recording_is_never_written_over(tmp_path):
    recording = tmp_path / "talk.txt"
    recording.touch()
    (tmp_path / "link.txt").symlink_to(recording)
    with pytest.raises(UnusableError, match="the recording itself"):
        check_output(tmp_path / "link.txt", [recording], is_forced=True)
    [job] = plan_jobs([recording], "txt", None)
    assert job.output == tmp_path / "talk.txt.txt"


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    for is_forced in (False, True):
        with pytest.raises(UnicodeEncodeError):
            write_output(tmp_path / "a.txt", "\ud800", is_forced=is_forced)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnusableError, match="No such file or directory"):
        write_output(tmp_path / "none" / "a.txt", "", is_forced=False)
