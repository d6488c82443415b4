"""One use, one minute, one origin."""

from dataclasses import replace
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server import errors
from server.call_values import CallPlace, Role
from server.errors import RefusedError
from server.tickets import TicketForm, Tickets, TicketSettings, TicketWish
from tests.fakes import GRANT, limited


def refusal(tickets, ticket, origin=None, now_s=0.0):
    with pytest.raises(RefusedError) as refused:
        tickets.redeem(ticket, origin, now_s)
    assert refused.value.refusal is errors.UNAUTHENTICATED
    assert ticket not in refused.value.reason or not ticket
    return refused.value.reason


@pytest.fixture
def tickets():
    return Tickets(TicketSettings())


def test_a_ticket_gives_what_its_token_granted_for_as_long_as_that_lasts(tickets):
    grant = limited(session_audio_s=5)
    ticket, lifetime_s = tickets.issue(grant, None, 100.0)
    assert lifetime_s == 60
    assert tickets.redeem(ticket, None, 110.0) == replace(grant, expires_in_s=3590.0)


def test_a_second_use_is_a_replay_and_stays_one(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0)
    tickets.redeem(ticket, None, 1.0)
    assert refusal(tickets, ticket, now_s=1.0) == "ticket_replayed"
    assert refusal(tickets, ticket, now_s=59.0) == "ticket_replayed"


def test_of_a_thousand_uses_one_is_let_in(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0)
    let_in = 0
    for _ in range(1000):
        try:
            tickets.redeem(ticket, None, 1.0)
            let_in += 1
        except RefusedError:
            pass
    assert let_in == 1


def test_after_a_minute_it_is_worth_nothing(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0)
    assert refusal(tickets, ticket, now_s=60.0) == "ticket_expired"


@pytest.mark.parametrize("ticket", ["", "x", "x" * 22, "é" * 22, "\ud800" * 22, "x" * 100_000])
def test_what_was_never_issued_is_not_known(tickets, ticket):
    tickets.issue(GRANT, None, 0.0)
    assert refusal(tickets, ticket) == "ticket_unknown"


def test_a_page_that_asked_is_the_only_one_that_may_use_it(tickets):
    ticket, _ = tickets.issue(GRANT, "https://a.example", 0.0)
    assert refusal(tickets, ticket, "https://b.example") == "ticket_of_other_origin"
    assert refusal(tickets, ticket, None) == "ticket_of_other_origin"
    assert tickets.redeem(ticket, "https://a.example", 0.0) == GRANT


def test_a_program_may_ask_for_a_page(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0)
    assert tickets.redeem(ticket, "https://a.example", 0.0) == GRANT


def test_a_subject_has_so_many_at_a_time():
    tickets = Tickets(TicketSettings(most_of_subject=2))
    first, _ = tickets.issue(GRANT, None, 0.0)
    tickets.issue(GRANT, None, 30.0)
    with pytest.raises(RefusedError) as refused:
        tickets.issue(GRANT, None, 31.0)
    assert refused.value.refusal is errors.TOO_MANY_STARTS
    tickets.issue(replace(GRANT, subject="bob"), None, 31.0)
    tickets.redeem(first, None, 31.0)
    tickets.issue(GRANT, None, 31.0)
    tickets.issue(GRANT, None, 151.0)
    tickets.issue(GRANT, None, 152.0)


def test_all_together_are_so_many():
    tickets = Tickets(TicketSettings(most=1))
    tickets.issue(GRANT, None, 0.0)
    with pytest.raises(RefusedError) as refused:
        tickets.issue(GRANT, None, 1.0)
    assert refused.value.refusal is errors.OVERLOADED
    tickets.issue(GRANT, None, 120.0)


def test_who_uses_up_many_leaves_room_for_others_and_opens_nothing_twice():
    tickets = Tickets(TicketSettings(most=2))
    used = [tickets.issue(GRANT, None, 0.0)[0] for _ in range(2)]
    for ticket in used:
        tickets.redeem(ticket, None, 0.0)
    waiting, _ = tickets.issue(replace(GRANT, subject="bob"), None, 1.0)
    tickets.issue(replace(GRANT, subject="bob"), None, 1.0)
    assert [refusal(tickets, ticket, now_s=1.0) for ticket in used] == ["ticket_unknown"] * 2
    assert tickets.redeem(waiting, None, 1.0).subject == "bob"


def test_a_ticket_ends_with_its_token():
    tickets = Tickets(TicketSettings())
    ticket, lifetime_s = tickets.issue(replace(GRANT, expires_in_s=20.5), None, 0.0)
    assert lifetime_s == 20
    assert refusal(tickets, ticket, now_s=20.0) == "ticket_expired"
    ticket, lifetime_s = tickets.issue(replace(GRANT, expires_in_s=-5.0), None, 30.0)
    assert lifetime_s == 0
    assert refusal(tickets, ticket, now_s=30.0) == "ticket_expired"


def test_a_ticket_is_over_sooner_if_that_is_wished_and_never_later(tickets):
    for wished_s, lasts_s in ((10, 10), (7200, 60), (None, 60)):
        wish = TicketWish(lifetime_s=wished_s)
        ticket, lifetime_s = tickets.issue(GRANT, None, 0.0, wish=wish)
        assert lifetime_s == lasts_s
        assert refusal(tickets, ticket, now_s=lasts_s) == "ticket_expired"
        tickets.redeem(ticket, None, lasts_s - 0.1)


def test_what_a_ticket_carries_is_there_until_it_is_used(tickets):
    ticket, _ = tickets.issue(GRANT, "https://a.example", 0.0, wish=TicketWish(carried="wishes"))
    assert refusal(tickets, ticket, "https://b.example") == "ticket_of_other_origin"
    assert tickets.carried_by(ticket) == "wishes"
    tickets.redeem(ticket, "https://a.example", 1.0)
    assert tickets.carried_by(ticket) is None


def test_what_is_no_ticket_carries_nothing(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0)
    for each in (ticket, "", "x" * 22, "é" * 22, "x" * 100_000):
        assert tickets.carried_by(each) is None


class Uses(RuleBasedStateMachine):
    """Tickets of three subjects, used in any order at any time."""

    def __init__(self):
        super().__init__()
        self.tickets, self.now_s = Tickets(TicketSettings(most_of_subject=3, most=12)), 0.0
        self.issued, self.used = {}, set()

    @rule(subject=st.sampled_from("abc"))
    def issue(self, subject):
        try:
            ticket, _ = self.tickets.issue(replace(GRANT, subject=subject), None, self.now_s)
        except RefusedError:
            return
        self.issued[ticket] = (subject, self.now_s)

    @precondition(lambda self: self.issued)
    @rule(data=st.data())
    def redeem(self, data):
        ticket = list(self.issued)[data.draw(st.integers(0, len(self.issued) - 1))]
        subject, at_s = self.issued[ticket]
        may = ticket not in self.used and self.now_s < at_s + 60
        try:
            grant = self.tickets.redeem(ticket, None, self.now_s)
        except RefusedError:
            assert not may
        else:
            assert may
            assert grant.subject == subject
            self.used.add(ticket)

    @rule(duration_s=st.floats(0, 70))
    def wait(self, duration_s):
        self.now_s += duration_s

    @invariant()
    def what_is_kept_has_a_bound(self):
        assert len(self.tickets._kept) <= 12
        assert all(0 < n <= 3 for n in self.tickets._open_of.values())


Uses.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
test_a_ticket_is_good_once_whatever_happens = Uses.TestCase


def test_a_ticket_may_be_a_uuid_for_wires_that_carry_nothing_else(tickets):
    ticket, lifetime_s = tickets.issue(GRANT, None, 0.0, TicketForm.UUID)
    assert str(UUID(ticket)) == ticket
    assert (UUID(ticket).version, UUID(ticket).variant) == (4, RFC_4122)
    assert lifetime_s == 60
    assert tickets.redeem(ticket, None, 1.0).subject == "alice"
    assert refusal(tickets, ticket, now_s=1.0) == "ticket_replayed"


def test_a_uuid_is_the_same_in_upper_case_and_opens_one_call(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0, TicketForm.UUID)
    assert tickets.redeem(ticket.upper(), None, 1.0).subject == "alice"
    assert refusal(tickets, ticket) == "ticket_replayed"


def test_a_uuid_is_a_ticket_as_it_is_spelt_alone(tickets):
    ticket, _ = tickets.issue(GRANT, None, 0.0, TicketForm.UUID)
    for other in (ticket.replace("-", ""), ticket.upper() + " ", f"{{{ticket}}}", str(uuid4())):
        assert refusal(tickets, other) == "ticket_unknown"


def test_no_two_tickets_are_the_same(tickets):
    forms = [TicketForm.UUID, TicketForm.TEXT] * 40
    assert len({tickets.issue(GRANT, None, 0.0, form)[0] for form in forms}) == 80


def test_what_a_ticket_is_for_comes_back_with_it(tickets):
    place = CallPlace("c-1", Role.CUSTOMER, "en")
    ticket, _ = tickets.issue(replace(GRANT, call=place), None, 0.0, TicketForm.UUID)
    assert tickets.redeem(ticket, None, 0.0).call == place
