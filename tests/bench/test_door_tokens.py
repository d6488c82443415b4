"""The shapes that are timed: as long as they say, and none of them a good token."""

import pytest

from bench import door_tokens
from bench.door_tokens import LONGEST, MEGABYTE, refusal_ms, shapes


@pytest.mark.parametrize("n_bytes", [MEGABYTE, LONGEST])
def test_shapes_are_about_as_long_as_they_say(n_bytes):
    lengths = [len(text) for text in shapes(n_bytes)]
    assert len(lengths) >= 30
    assert max(lengths) <= n_bytes
    assert min(lengths) > n_bytes // 2


def test_every_shape_is_refused_and_its_time_told(monkeypatch):
    monkeypatch.setattr(door_tokens, "ROUNDS", 1)
    assert door_tokens.refuse_1mb_ms_max() > 0
    with pytest.raises(AssertionError):
        refusal_ms(good_token())


def good_token():
    claims = b'{"iss":"earwitness","aud":"earwitness","sub":"a","jti":"a",'
    times = b'"iat":1800000000,"exp":1800000600}'
    return door_tokens._signed(door_tokens._HEADER, claims + times)
