"""Findings, as people and programs read them."""

import json

import pytest

from server.doctor.finding import bad, exit_code_of, ok, sentence_of, warn


def test_a_line_says_how_bad_what_about_and_what_to_do():
    assert bad("pack", "it does not open.", "bring it back.", "models/tiny").line == (
        "bad   pack              models/tiny: it does not open. To mend it: bring it back."
    )
    assert ok("tls", "none.").line == "ok    tls               none."


def test_a_program_gets_an_object_a_line():
    line = warn("disk", "little is free.", "make room.", "data").json_line
    assert json.loads(line) == {
        "check": "disk",
        "level": "warn",
        "text": "little is free.",
        "remedy": "make room.",
        "about": "data",
    }
    assert "\n" not in line


@pytest.mark.parametrize(
    ("findings", "code"),
    [([], 0), ([ok("a", "b")], 0), ([ok("a", "b"), warn("a", "b", "c")], 0)],
)
def test_warnings_alone_end_well(findings, code):
    assert exit_code_of(findings) == code
    assert exit_code_of([*findings, bad("a", "b", "c")]) == 1


@pytest.mark.parametrize("text", ["it is gone", "it is gone."])
def test_an_error_ends_with_one_full_stop(text):
    assert sentence_of(ValueError(text)) == "it is gone."
