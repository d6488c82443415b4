"""One use, a few minutes, and one browser where there is one to bind to."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server import errors
from server.errors import RefusedError
from server.sign_in_codes import Person, SignInCodes

PERSON = Person("page-1", "start_code")


def refusal(codes, code, now_s=0.0, browser=None):
    with pytest.raises(RefusedError) as refused:
        codes.redeem(code, now_s, browser)
    assert refused.value.refusal is errors.CODE_INVALID
    return refused.value.reason


@pytest.fixture
def codes():
    return SignInCodes()


def test_a_code_signs_in_whom_it_is_for_once(codes):
    code = codes.issue(PERSON, 600, 0.0)
    assert len(code) == 22
    assert codes.redeem(code, 599.9) == PERSON
    assert refusal(codes, code, 599.9) == "code_used"


def test_a_code_that_is_over_is_worth_nothing(codes):
    code = codes.issue(PERSON, 600, 0.0)
    assert refusal(codes, code, 600.0) == "code_expired"


@pytest.mark.parametrize("code", ["", "x", "x" * 22, "é" * 22, "\ud800" * 22, "x" * 100_000])
def test_what_never_was_a_code_is_not_known(codes, code):
    codes.issue(PERSON, 600, 0.0)
    assert refusal(codes, code) == "code_unknown"


def test_a_code_of_one_browser_is_not_anothers_and_stays_good_for_its_own(codes):
    code = codes.issue(PERSON, 60, 0.0, browser="b-1")
    assert refusal(codes, code) == "code_of_other_browser"
    assert refusal(codes, code, browser="b-2") == "code_of_other_browser"
    assert codes.redeem(code, 0.0, "b-1") == PERSON


def test_a_code_of_no_browser_is_good_in_any(codes):
    code = codes.issue(PERSON, 60, 0.0)
    assert codes.redeem(code, 0.0, "b-1") == PERSON


def test_there_are_so_many_and_used_ones_give_way():
    codes = SignInCodes(most=2)
    first, second = (codes.issue(PERSON, 60, 0.0) for _ in range(2))
    with pytest.raises(RefusedError) as refused:
        codes.issue(PERSON, 60, 0.0)
    assert refused.value.refusal is errors.OVERLOADED
    codes.redeem(first, 0.0)
    third = codes.issue(PERSON, 60, 0.0)
    assert refusal(codes, first) == "code_unknown"
    assert codes.redeem(second, 0.0) == codes.redeem(third, 0.0) == PERSON


def test_codes_are_forgotten_an_hour_after_their_end(codes):
    code = codes.issue(PERSON, 60, 0.0)
    codes.issue(PERSON, 60, 3659.0)
    assert refusal(codes, code, 3659.0) == "code_expired"
    codes.issue(PERSON, 60, 3660.0)
    assert refusal(codes, code, 3660.0) == "code_unknown"


def test_neither_code_nor_browser_is_kept(codes):
    code = codes.issue(PERSON, 60, 0.0, browser="secret-of-browser")
    kept = repr(codes._kept)
    assert code not in kept
    assert "secret-of-browser" not in kept


class Uses(RuleBasedStateMachine):
    """Codes of three people, used in any order at any time, in any browser."""

    def __init__(self):
        super().__init__()
        self.codes, self.now_s, self.n = SignInCodes(most=8), 0.0, 0
        self.issued, self.used = {}, set()

    @rule(browser=st.sampled_from(["a", "b", None]), lifetime_s=st.sampled_from([10, 60]))
    def issue(self, browser, lifetime_s):
        person = Person(f"p-{self.n}", "provider")
        try:
            code = self.codes.issue(person, lifetime_s, self.now_s, browser)
        except RefusedError:
            good = [c for c, (_, ends_s, _) in self.issued.items() if ends_s > self.now_s]
            assert len(set(good) - self.used) == 8
            return
        self.n += 1
        assert code not in self.issued
        self.issued[code] = (person, self.now_s + lifetime_s, browser)

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), browser=st.sampled_from(["a", "b", None]))
    def redeem(self, data, browser):
        code = data.draw(st.sampled_from(list(self.issued)))
        person, ends_s, bound = self.issued[code]
        may = code not in self.used and self.now_s < ends_s and bound in {None, browser}
        try:
            signed_in = self.codes.redeem(code, self.now_s, browser)
        except RefusedError:
            assert not may
        else:
            assert may
            assert signed_in == person
            self.used.add(code)

    @rule(duration_s=st.sampled_from([1.0, 9.0, 50.0, 4000.0]))
    def wait(self, duration_s):
        self.now_s += duration_s

    @invariant()
    def what_is_held_is_bounded(self):
        assert len(self.codes) <= 8


TestUses = Uses.TestCase
TestUses.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
