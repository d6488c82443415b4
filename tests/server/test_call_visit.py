"""What a request to follow a call may mean, and what the trail keeps of it."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from server import errors
from server.call_visit import DONE, GONE, Visit, asked_of, ended_by
from server.calls import CallReader, Calls
from server.errors import RefusedError
from server.lines import Places
from tests.fakes import GRANT
from tests.server.calling import QUICK
from tests.server.test_call import CUSTOMER

OLGA = replace(GRANT, subject="olga", call_owners=frozenset({"pbx"}))


def peer(call_id="c-1", query=b"", headers=()):
    scope = {
        "type": "http",
        "path_params": {"call_id": call_id},
        "query_string": query,
        "client": ("198.51.100.9", 5),
        "headers": [(b"user-agent", b"desk"), *headers],
    }
    return HTTPConnection(scope)


def visit(grant=OLGA, owner=None):
    return Visit(peer(), grant, "c-1", owner, 0, Places(1).take("x"), 0.0)


@pytest.fixture
def live():
    calls = Calls(QUICK, time.monotonic)
    calls.join("tests pbx", "c-1", "s-1", [CUSTOMER], 0.0)
    return calls.find("c-1", lambda owner: True)


def test_what_is_not_said_is_everything_of_whoevers_may_be_read():
    assert asked_of(peer()) == ("c-1", None, 0)


def test_a_call_an_owner_and_a_number_may_be_said():
    asked = asked_of(peer("a/b.c", b"after=7&owner=pbx%20two"))
    assert asked == ("a/b.c", "pbx two", 7)


def test_a_header_counts_more_than_the_address_unless_it_is_empty():
    assert asked_of(peer(query=b"after=7", headers=[(b"last-event-id", b"9")]))[2] == 9
    assert asked_of(peer(query=b"after=7", headers=[(b"last-event-id", b"")]))[2] == 7


@given(st.text(), st.binary(max_size=40), st.binary(max_size=20))
def test_whatever_is_asked_it_is_in_bounds_or_refused(call_id, query, last_seen):
    try:
        call_id, owner, after_seq = asked_of(peer(call_id, query, [(b"last-event-id", last_seen)]))
    except RefusedError:
        return
    assert 0 < len(call_id) <= 128
    assert owner is None or 0 < len(owner) <= 255
    assert 0 <= after_seq < 10**15


def test_only_what_is_meant_and_granted_is_seen():
    owners = ("tests pbx", "tests olga", "other pbx")
    assert [visit().may_see(each) for each in owners] == [True, False, False]
    assert [visit(owner="olga").may_see(each) for each in owners] == [False] * 3
    anybodys = replace(OLGA, call_owners=frozenset({"*"}))
    assert [visit(anybodys, "olga").may_see(each) for each in owners] == [False, True, False]


def test_the_trail_learns_who_reads_which_call_of_whom(live):
    event = visit().watched(live)
    assert (event.subject, event.issuer, event.token_id) == ("olga", "tests", "t-1")
    assert (event.peer_address, event.peer_port, event.user_agent) == ("198.51.100.9", 5, "desk")
    assert (event.call_id, event.owner) == ("c-1", "pbx")


async def test_the_trail_learns_how_much_was_read_and_why_no_more(live):
    visited = visit()
    visited.reader = CallReader(live, 0, 16, lambda: None)
    await visited.reader.take(0.0)
    assert (visited.unwatched().n_events, visited.unwatched().reason) == (1, GONE.reason)
    visited.end = DONE
    assert visited.unwatched().reason == "call_ended"
    visited.end = ended_by(RefusedError(errors.REVOKED, "more exactly"))
    assert (visited.unwatched().reason, visited.end.refusal) == ("more exactly", errors.REVOKED)


def test_who_never_read_leaves_nothing_in_the_trail():
    assert visit().unwatched() is None
