"""Which token is the newest."""

import pytest

from client.credential import Credential
from client.errors import UnusableError


def source(*tokens):
    left = list(tokens)

    def find():
        token = left.pop(0)
        if token is None:
            raise UnusableError("none")
        return token

    return find


async def test_a_token_is_itself_until_a_newer_one_was_shown():
    credential = Credential("first")
    assert await credential.find(None) == "first"
    assert await credential.find("shown") == "shown"
    assert await credential.find(None) == "first"


async def test_a_source_is_asked_each_time():
    credential = Credential(source("first", "second"))
    assert [await credential.find(None), await credential.find(None)] == ["first", "second"]


async def test_what_was_shown_is_newer_than_what_a_source_says_again():
    credential = Credential(source("first", "first", "second", "second", "second"))
    assert await credential.find(None) == "first"
    assert await credential.find("shown") == "shown"
    assert await credential.find("shown") == "second"
    assert await credential.find("shown") == "second"
    assert await credential.find("shown again") == "shown again"


async def test_a_source_that_fails_later_leaves_the_last():
    credential = Credential(source("first", None))
    assert [await credential.find(None), await credential.find(None)] == ["first", "first"]


async def test_a_source_that_never_had_any_fails():
    with pytest.raises(UnusableError):
        await Credential(source(None)).find(None)
