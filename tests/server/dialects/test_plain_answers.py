"""A refusal in, a line over HTTP out."""

from server import errors
from server.dialects.plain_answers import plain_answer


def test_a_refusal_is_its_text_in_a_line():
    answer = plain_answer(errors.UNAUTHENTICATED)
    assert (answer.status, answer.media_type, answer.headers) == (401, "text/plain", [])
    assert answer.body == b"No valid token or ticket. Bring a fresh one.\n"


def test_who_may_come_again_is_told_when():
    answer = plain_answer(errors.TOO_MANY_STARTS)
    assert (answer.status, answer.headers) == (429, [("retry-after", "60")])
