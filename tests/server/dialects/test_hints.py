"""Words that a client expects in, the context of a session out."""

import pytest

from server import wire
from server.dialects.hints import context_of


@pytest.mark.parametrize(
    ("hints", "context"),
    [
        ([], None),
        ([None, "", " \n"], None),
        (["one", None, "two  three\n"], "one two three"),
        (["a\x00b\x1bc"], "abc"),
    ],
)
def test_hints_become_one_line(hints, context):
    assert context_of(hints) == context


def test_of_a_long_one_the_end_counts():
    assert context_of(["a" * 5000, "end"]).endswith("a end")


@pytest.mark.parametrize("character", ['"', "\\", "\n", "\x01", "é", "漢", "\U0001f600"])
def test_whatever_is_hinted_fits_into_a_start(character):
    start = wire.Start(16_000, context=context_of([character * 10_000]))
    assert wire.decode_client_message(wire.encode(start)) == start
