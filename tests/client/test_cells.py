"""Text that is safe to show, and its width."""

import pytest

from client.cells import cells_of, clean, width_cells


def test_words_cannot_steer_the_terminal():
    assert clean("a\x1b[2Jb\r\n\u202ec\x9bd\u200ce") == "a [2Jb c d\u200ce"


@pytest.mark.parametrize(("char", "cells"), [("a", 1), ("世", 2), ("\u0301", 0), ("\u200d", 0)])
def test_characters_take_the_cells_a_terminal_gives_them(char, cells):
    assert cells_of(char) == cells


def test_a_line_is_as_wide_as_its_characters():
    assert width_cells("a世e\u0301") == 4
