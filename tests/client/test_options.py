"""Command lines to options."""

import pytest

from client.errors import UnusableError
from client.options import FORMATS, parse_options
from tests.client.fake_server import TOKEN


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("EARWITNESS_URL", raising=False)
    monkeypatch.setenv("EARWITNESS_TOKEN", TOKEN)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.wav", TOKEN],
        ["a.wav", "--tok", TOKEN],
        ["a.wav", "--token", TOKEN, "--token-file", "f"],
        ["a.wav", "--token", TOKEN, "--token-command", "c"],
        ["a.wav", "--rate", "16000"],
        ["-"],
        ["-", "--rate", "11025"],
        ["-", "a.wav", "--rate", "16000"],
        ["--microphone", "a.wav"],
        ["--microphone", "--fast"],
        ["--microphone", "--list-devices"],
        ["a.wav", "--device", "mic"],
        ["a.wav", "--fast", "--realtime"],
        ["a.wav", "--end-of-speech-ms", "soon"],
        ["a.wav", "--format", "doc"],
        ["a.wav", "--json", "--format", "srt"],
        ["a.wav", "b.wav", "--output", "c.txt"],
        ["a.wav", "--output", "c.docx"],
        ["a.wav", "--labels", "one"],
        ["a.wav", "--labels", "a,a"],
        ["a.wav", "--labels", "a,"],
        ["a.wav", "--labels", "a," + "b" * 21],
        ["a.wav", "--jobs", "0"],
    ],
)
def test_bad_usage_is_2_and_never_repeats_the_token(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_options(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert TOKEN not in out + err


def test_the_token_comes_from_where_it_was_said_to_be(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("from-file\n")
    found = [
        parse_options(["a", *arguments]).find_token()
        for arguments in (
            ["--token", "given"],
            ["--token-file", str(tmp_path / "token")],
            ["--token-command", "echo from-command"],
            [],
        )
    ]
    assert found == ["given", "from-file", "from-command", TOKEN]
    assert TOKEN not in repr(parse_options(["a", "--token", TOKEN]))
    monkeypatch.delenv("EARWITNESS_TOKEN")
    with pytest.raises(UnusableError, match="token is needed"):
        parse_options(["a"])
    assert parse_options(["--list-devices"]).find_token() == ""


def test_the_address_comes_from_the_command_line_or_the_environment(monkeypatch):
    assert parse_options(["a"]).url == "ws://127.0.0.1:8765/v1/stream"
    monkeypatch.setenv("EARWITNESS_URL", "ws://host/")
    assert parse_options(["a"]).url == "ws://host/"
    assert parse_options(["a", "--url", "ws://other/"]).url == "ws://other/"


@pytest.mark.parametrize(
    ("arguments", "pace"),
    [
        (["a"], None),
        (["a", "--realtime"], "real_time"),
        (["-", "--rate", "8000"], "real_time"),
        (["-", "--rate", "8000", "--fast"], None),
        (["--microphone"], "real_time"),
    ],
)
def test_files_are_fast_and_what_is_live_is_not(arguments, pace):
    assert parse_options(arguments).pace == pace


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ([], None),
        (["--json"], "ndjson"),
        (["--format", "srt"], "srt"),
        (["--output", "a.VTT"], "vtt"),
        (["--output", "notes"], "txt"),
        (["--output", "a.srt", "--format", "json"], "json"),
        (["--output", "a.text", "--format", "txt"], "txt"),
        (["--output", "a.log", "--json"], "ndjson"),
    ],
)
def test_the_format_is_said_or_known_by_the_ending(arguments, kind):
    assert parse_options(["a", *arguments]).kind == kind


def test_an_ending_that_is_no_format_is_told_with_those_that_are(capsys):
    with pytest.raises(SystemExit):
        parse_options(["a", "--output", "a.docx"])
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert all(f".{kind}" in complaint for kind in FORMATS)


def test_several_files_or_a_folder_are_a_batch(tmp_path):
    is_batch = [
        parse_options(arguments).is_batch
        for arguments in (["a"], ["a", "b"], [str(tmp_path)], ["a", "--output-folder", "d"])
    ]
    assert is_batch == [False, True, True, True]
