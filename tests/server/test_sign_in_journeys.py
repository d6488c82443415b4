"""Off to the provider and back: once, in time, and in the same browser."""

import base64
import hashlib

import pytest

from server import errors
from server.errors import RefusedError
from server.sign_in_journeys import Journeys


def refusal(journeys, state, browser, now_s=0.0):
    with pytest.raises(RefusedError) as refused:
        journeys.end(state, browser, now_s)
    assert refused.value.refusal is errors.SIGN_IN_FAILED
    return refused.value.reason


@pytest.fixture
def journeys():
    return Journeys()


def test_who_comes_back_in_the_same_browser_is_known_once(journeys):
    journey = journeys.begin("192.0.2.1", 0.0)
    assert journeys.end(journey.state, journey.browser, 599.0) == journey
    assert refusal(journeys, journey.state, journey.browser) == "sign_in_unknown"


def test_another_browser_is_refused_and_ends_the_journey(journeys):
    for other in ("x", None, ""):
        journey = journeys.begin("192.0.2.1", 0.0)
        assert refusal(journeys, journey.state, other) == "sign_in_of_other_browser"
        assert refusal(journeys, journey.state, journey.browser) == "sign_in_unknown"


def test_who_takes_too_long_begins_again(journeys):
    journey = journeys.begin("192.0.2.1", 0.0)
    assert refusal(journeys, journey.state, journey.browser, 600.0) == "sign_in_expired"


@pytest.mark.parametrize("state", ["", "x" * 22, "é", "\ud800"])
def test_a_state_that_never_was_is_not_known(journeys, state):
    journeys.begin("192.0.2.1", 0.0)
    assert refusal(journeys, state, "x") == "sign_in_unknown"


def test_the_provider_is_shown_the_hash_of_the_verifier_alone(journeys):
    journey = journeys.begin("192.0.2.1", 0.0)
    digest = hashlib.sha256(journey.verifier.encode()).digest()
    assert journey.challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert 43 <= len(journey.verifier) <= 128
    secrets = {journey.state, journey.browser, journey.nonce, journey.verifier}
    assert len(secrets) == 4
    assert not any(secret in repr(journey) for secret in secrets)


def test_whoever_begins_many_spoils_their_own_only():
    journeys = Journeys(most_of_address=2)
    other = journeys.begin("192.0.2.2", 0.0)
    first, second, third = (journeys.begin("192.0.2.1", 0.0) for _ in range(3))
    assert refusal(journeys, first.state, first.browser) == "sign_in_unknown"
    for journey in (second, third, other):
        assert journeys.end(journey.state, journey.browser, 0.0) == journey
    assert len(journeys) == 0


def test_where_all_places_are_taken_whoever_has_most_gives_one_up():
    journeys = Journeys(most=4)
    other = journeys.begin("192.0.2.2", 0.0)
    first, *rest = (journeys.begin("192.0.2.1", 0.0) for _ in range(3))
    late = journeys.begin("192.0.2.3", 0.0)
    assert refusal(journeys, first.state, first.browser) == "sign_in_unknown"
    with pytest.raises(RefusedError) as refused:
        journeys.begin("192.0.2.3", 0.0)
    assert refused.value.reason == "sign_ins_full"
    for journey in (*rest, late, other):
        assert journeys.end(journey.state, journey.browser, 0.0) == journey


def test_all_together_are_so_many_until_they_are_over():
    journeys = Journeys(most=1)
    journeys.begin("192.0.2.1", 0.0)
    with pytest.raises(RefusedError) as refused:
        journeys.begin("192.0.2.2", 599.0)
    assert refused.value.refusal is errors.OVERLOADED
    journeys.begin("192.0.2.2", 600.0)
    assert len(journeys) == 1
