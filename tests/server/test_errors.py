"""What a peer can be refused for."""

from pathlib import Path

import pytest

from server import errors


def test_codes_are_unique():
    codes = [refusal.code for refusal in errors.ALL]
    assert len(codes) == len(set(codes))


def test_every_refusal_is_listed():
    named = {value for value in vars(errors).values() if isinstance(value, errors.Refusal)}
    assert named == set(errors.ALL)


@pytest.mark.parametrize("refusal", errors.ALL, ids=lambda refusal: refusal.code)
def test_close_codes_are_ones_an_application_may_send(refusal):
    assert refusal.close_code in {1008, 1009, 1011, 1012, 1013} or 4000 <= refusal.close_code < 5000
    assert 400 <= refusal.http_status < 600


@pytest.mark.parametrize("refusal", errors.ALL, ids=lambda refusal: refusal.code)
def test_the_readme_lists_every_code(refusal):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"`{refusal.code}` | {refusal.close_code} |" in readme


def test_the_reason_for_the_trail_is_not_what_the_peer_reads():
    error = errors.RefusedError(errors.UNAUTHENTICATED, "token_expired")
    assert (str(error), error.reason) == ("unauthenticated", "token_expired")
    assert errors.RefusedError(errors.IDLE).reason == "idle"
