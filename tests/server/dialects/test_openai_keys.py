"""What comes with an ephemeral key is found by it, once."""

import pytest

from server.dialects.openai_keys import EphemeralKeys, Kept, keys_shown
from server.dialects.openai_realtime_settings import Wishes
from server.dialects.translation import DeclinedError
from tests.server.dialects.openai_session import Client, upgrade

WISHES = Wishes(language="de")
BY_HEADER = upgrade(headers=[("authorization", "Bearer ek_1")])
BY_PAGE = upgrade(subprotocols=["realtime", "openai-insecure-api-key.ek_1"])


def kept(most=10, ends_s=1060.0, keys=("ek_1",)):
    made = EphemeralKeys(most)
    for key in keys:
        made.keep(key, Kept(WISHES, ends_s), 1000.0)
    return made


@pytest.mark.parametrize("shown", [BY_HEADER, BY_PAGE])
def test_a_session_is_what_was_wished_for_its_key_and_waits_for_no_update(shown):
    client = Client(shown, kept())
    assert client.session["audio"]["input"]["transcription"]["language"] == "de"
    client.append(b"ab")
    assert client.start.language == "de"


def test_it_is_found_once():
    keys = kept()
    assert keys.take(BY_HEADER) == Kept(WISHES, 1060.0)
    assert keys.take(BY_HEADER) is None


def test_other_keys_find_nothing():
    assert kept().take(upgrade(headers=[("authorization", "Basic ek_1")])) is None
    assert kept().take(upgrade()) is None
    assert keys_shown(upgrade(headers=[("authorization", "bearer  a.b.c ")])) == ["a.b.c"]


def test_a_key_that_is_over_opens_nothing():
    with pytest.raises(DeclinedError) as declined:
        Client(BY_HEADER, kept(ends_s=1010.0), wall_s=1010.0)
    assert declined.value.answer.status == 401


def test_what_is_over_is_forgotten_and_when_there_are_too_many_the_oldest():
    keys = kept(most=2, ends_s=1060.0, keys=("ek_0", "ek_1", "ek_2"))
    keys.keep("ek_3", Kept(WISHES, 2000.0), 1000.0)
    assert keys.take(BY_HEADER) is None
    keys = kept(ends_s=1060.0)
    keys.keep("ek_9", Kept(WISHES, 2000.0), 1060.0)
    assert keys.take(BY_HEADER) is None
