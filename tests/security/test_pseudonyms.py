"""Telephone numbers to names: the same for the same, and nothing without the key."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security import pseudonyms
from security.errors import KeyFileError
from security.keys import create_key_file, open_key_file
from security.pseudonyms import NAME_DIGITS, Pseudonyms, open_pseudonyms
from security.secret import SecretBytes

NAMES = Pseudonyms(SecretBytes(bytes(range(32))))
NUMBER = "+4930123456"


def test_a_name_is_hex_and_holds_nothing_of_its_number():
    name = NAMES.of(NUMBER)
    assert re.fullmatch(rf"[0-9a-f]{{{NAME_DIGITS}}}", name)
    assert name == "9105151f518d478c"  # by openssl dgst


@pytest.mark.parametrize(
    "spelt",
    [
        *("+49 30 123456", "+49 (30) 12-34.56", " +4930123456\n", "tel:+49-30-123456"),
        *("sip:+4930123456@pbx.example", "SIPS:+4930123456@other.example:5061;transport=tls"),
        *("sip:+4930123456;npdi@pbx.example", "tel:+4930123456;phone-context=example.com"),
        *("<sip:+4930123456@pbx.example>", '"Ann <B>" <sip:+4930123456@h>;tag=1', "+49/30/123456"),
    ],
)
def test_a_number_is_the_same_however_it_is_spelt(spelt):
    assert NAMES.of(spelt) == NAMES.of(NUMBER)


def test_what_differs_has_another_name():
    told = [NUMBER, "4930123456", "004930123456", "+4930123457", "ann", "ann@example", "bob"]
    assert len({NAMES.of(each) for each in told}) == len(told)


def test_an_address_without_a_number_is_the_same_in_either_case():
    assert NAMES.of("sip:Reception@Clinic.example") == NAMES.of("sip:reception@clinic.example")
    assert NAMES.of("sip:reception@clinic.example") != NAMES.of("sip:reception@other.example")


@pytest.mark.parametrize("told", [None, "", "  ", "\n"])
def test_who_tells_no_number_has_no_name(told):
    assert NAMES.of(told) is None


@pytest.mark.parametrize("told", ["sip:", "<>", "anonymous", "+", "()", "\ud800", "é" * 99])
def test_what_is_no_number_has_a_name_all_the_same(told):
    assert NAMES.of(told) is not None


def test_of_a_long_address_the_beginning_counts():
    assert NAMES.of("a" * 256 + "b") == NAMES.of("a" * 1_000_000)


def test_another_key_gives_other_names():
    other = Pseudonyms(SecretBytes(bytes(32)))
    assert other.of(NUMBER) != NAMES.of(NUMBER)


def test_nothing_shows_the_key():
    assert repr(bytes(range(32))) not in repr(NAMES.__dict__)


@given(st.text(max_size=300))
def test_whatever_is_told_the_answer_is_a_name_or_none(told):
    name = NAMES.of(told)
    assert name is None or re.fullmatch("[0-9a-f]{16}", name)
    assert name == NAMES.of(told)


@given(st.text("0123456789", min_size=1, max_size=15), st.text(" ()-./", max_size=9))
def test_marks_between_digits_change_nothing(digits, marks):
    assert NAMES.of(marks.join(digits)) == NAMES.of(digits)


def test_the_key_is_made_once_and_kept_from_others(tmp_path):
    path = tmp_path / "numbers.key"
    name = open_pseudonyms(path).of(NUMBER)
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_pseudonyms(path).of(NUMBER) == name
    path.unlink()
    assert open_pseudonyms(path).of(NUMBER) != name


def test_of_two_that_make_the_key_at_once_both_have_the_first_ones(tmp_path, monkeypatch):
    path = tmp_path / "numbers.key"

    def meanwhile(asked):
        create_key_file(path)
        create_key_file(asked)

    monkeypatch.setattr(pseudonyms, "create_key_file", meanwhile)
    assert open_pseudonyms(path).of(NUMBER) == Pseudonyms(open_key_file(path)).of(NUMBER)


def test_a_key_file_that_is_none_is_told(tmp_path):
    path = tmp_path / "numbers.key"
    path.write_text("no key\n")
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        open_pseudonyms(path)


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(KeyFileError):
        open_pseudonyms(tmp_path / "nowhere" / "numbers.key")
