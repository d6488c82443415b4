"""What was seen before."""

from server.familiar import KNOWN_S, Familiar


def test_what_was_seen_a_while_ago_is_not_told_again_until_then():
    it = Familiar()
    assert it.is_new(("t", "a"), 0.0)
    assert not it.is_new(("t", "a"), KNOWN_S - 1)
    assert it.is_new(("t", "b"), KNOWN_S - 1)
    assert it.is_new(("t", "a"), KNOWN_S)
    assert not it.is_new(("t", "a"), KNOWN_S + 1)


def test_what_is_remembered_has_a_bound_and_the_oldest_goes_first():
    it = Familiar(most=2)
    assert [it.is_new((name,), 0.0) for name in "abc"] == [True] * 3
    assert not it.is_new(("c",), 1.0)
    assert not it.is_new(("b",), 1.0)
    assert it.is_new(("a",), 1.0)
    assert len(it._told_s) == 2
