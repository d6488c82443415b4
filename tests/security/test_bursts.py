"""Events of many keys in; too many of one within a window out, once for each level."""

from security.bursts import MAX_SEQS, Bursts

WINDOW_NS = 100


def bursts(*levels, most_keys=10, counts_marks=False):
    return Bursts(levels, WINDOW_NS, most_keys, counts_marks)


def told(counted, times, key="a", weights=(1, 1)):
    """At which of these times something is told, and the level."""
    found = [(at, counted.add(key, at, at, weights)) for at in times]
    return [(at, burst.level) for at, burst in found if burst]


def test_each_level_is_told_once_when_it_is_reached():
    assert told(bursts(3, 5), range(1, 20)) == [(3, 0), (5, 1)]


def test_below_the_level_nothing_is_told():
    assert told(bursts(3), [1, 2]) == []
    assert told(bursts(3), [1, 2, 3]) == [(3, 0)]


def test_what_lies_further_back_than_the_window_does_not_count():
    assert told(bursts(3), [0, 1, 101]) == []
    assert told(bursts(3), [0, 1, 100]) == [(100, 0)]


def test_when_the_window_is_over_what_goes_on_is_told_again():
    assert told(bursts(2), range(0, 250, 10)) == [(10, 0), (120, 0), (230, 0)]


def test_several_levels_at_once_are_told_once():
    burst = bursts(3, 5).add("a", 7, 1, (50, 50))
    assert (burst.level, burst.n_events, burst.seqs) == (1, 50, (1,))


def test_what_counts_for_the_first_level_alone_never_reaches_the_second():
    assert told(bursts(2, 3), range(50), weights=(1, 0)) == [(1, 0)]


def test_a_burst_names_its_first_events_and_its_span():
    counted = bursts(30)
    for seq in range(1, 30):
        assert counted.add("a", 10 + seq, seq, (1,)) is None
    burst = counted.add("a", 40, 30, (1,))
    assert burst.seqs == tuple(range(1, MAX_SEQS + 1))
    assert (burst.first_utc_ns, burst.last_utc_ns, burst.n_events) == (11, 40, 30)


def test_keys_are_counted_apart():
    counted = bursts(2)
    assert told(counted, [1], "a") + told(counted, [1], "b") == []
    assert told(counted, [2], "a") == [(2, 0)]


def test_different_marks_count_once_each():
    counted = bursts(2, counts_marks=True)
    assert counted.add("a", 1, 1, (1,), "x") is None
    assert counted.add("a", 2, 2, (1,), "x") is None
    assert counted.add("a", 3, 3, (1,), "y").n_events == 3


def test_a_clock_that_is_set_back_or_ahead_begins_a_new_window():
    assert told(bursts(3), [1000, 1001, 500, 501, 502]) == [(502, 0)]
    assert told(bursts(2), [10, 11, 10**6, 10**6 + 1, 12, 13]) == [
        (11, 0),
        (10**6 + 1, 0),
        (13, 0),
    ]


def test_the_keys_that_were_quiet_for_longest_go():
    counted = bursts(3, most_keys=2)
    told(counted, [1, 2], "a")
    told(counted, [1], "b")
    told(counted, [2], "a")
    told(counted, [1], "c")
    assert len(counted) == 2
    assert told(counted, [3], "a") == []
    assert told(counted, [2, 3], "b") == []
