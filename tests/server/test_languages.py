"""What languages are called."""

import pytest

from server.languages import language_name


@pytest.mark.parametrize(
    ("code", "name"), [("en", "english"), ("yue", "cantonese"), ("xx", "xx"), (None, "unknown")]
)
def test_a_code_has_a_name(code, name):
    assert language_name(code) == name
