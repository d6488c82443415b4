"""A trail with more names than anybody reads in, the most frequent ones out."""

from security.audit_reader import TrailReader
from security.audit_totals import Span, top_addresses, top_subjects, totals_by_event
from tests.security.trails import NOON_NS, make_trail, row

SPAN = Span(NOON_NS, NOON_NS + 1)


def refused(address):
    return row("handshake.refused", "failure", address=address, subject=address)


async def test_the_top_is_right_among_more_names_than_a_segment_adds_up(tmp_path):
    strangers = [refused(f"10.0.{n // 250}.{n % 250}") for n in range(3000)]
    often = [refused("10.9.9.9")] * 3
    places = make_trail(tmp_path, [*strangers, *often], [*often, *strangers])
    async with TrailReader(places) as reader:
        [address, *_] = await top_addresses(reader, SPAN, 5)
        [subject, *_] = await top_subjects(reader, SPAN, 5)
        [event] = await totals_by_event(reader, SPAN)
    assert (address.address, address.n_refused) == ("10.9.9.9", 6)
    assert (subject.subject, subject.n_refused) == ("10.9.9.9", 6)
    assert event.n_events == 6006
