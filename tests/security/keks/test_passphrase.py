"""Passphrases in every spelling in; pack keys wrapped and had back, or refusals, out."""

import getpass
import os
import pty
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from security.errors import KekError, KeyFileError
from security.keks.passphrase import Cost, PassphraseKek, ask_at_terminal, open_passphrase_kek
from security.secret import SecretBytes

ROOT = Path(__file__).parent.parent.parent.parent
WORDS = "correct horse battery"
CONTEXT = b"earwitness-pack/1|slot|" + bytes(32)
CHEAP = Cost(memory_kib=8, passes=1)
WRAPPED_BYTES = 86
DEAR_BITS = range(16, 20)
"""Each makes of a cheap slot one that costs from 64 MiB to 512 MiB: right, and slow."""
AT_TERMINAL = """
from security.errors import KekError
from security.keks.passphrase import ask_at_terminal
try:
    with ask_at_terminal(False) as passphrase:
        print(f"got {bytes(passphrase.expose())!r}")
except KekError as error:
    print(f"refused: {error}")
"""


def asking(words):
    encoded = words if isinstance(words, bytes) else words.encode()
    return lambda is_new: SecretBytes(bytearray(encoded))


def cheap_kek(words=WORDS):
    return PassphraseKek(asking(words), CHEAP)


def never_asked(is_new):
    raise AssertionError("nobody had to be asked")


def pack_key():
    return SecretBytes(bytearray(range(32)))


def with_costs(memory_kib, passes, lanes):
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    return wrapped[:1] + struct.pack(">IIB", memory_kib, passes, lanes) + wrapped[10:]


def run_at_terminal(line):
    """What the prompt does in a session of its own, with a terminal as its input."""
    primary, secondary = pty.openpty()
    with subprocess.Popen(  # noqa: S603 (our own interpreter, constant text)
        [sys.executable, "-c", AT_TERMINAL],
        cwd=ROOT,
        stdin=secondary,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        os.close(secondary)
        prompt = child.stderr.read(len("Passphrase: "))
        os.write(primary, line)  # what is typed ahead of the prompt is thrown away
        printed, rest = child.communicate()
    os.close(primary)
    return printed.decode(), (prompt + rest).decode()


def test_a_wrapped_key_comes_back():
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    assert len(wrapped) == WRAPPED_BYTES
    assert cheap_kek().unwrap(wrapped, CONTEXT) == pack_key()


def test_a_key_wrapped_for_another_pack_does_not_come_back():
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    assert cheap_kek().unwrap(wrapped, CONTEXT + b"!") is None


def test_another_passphrase_does_not_unwrap():
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    assert cheap_kek(WORDS + "!").unwrap(wrapped, CONTEXT) is None


def test_a_slot_opens_at_its_own_cost_and_not_at_that_of_new_slots():
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    dearer = PassphraseKek(asking(WORDS), Cost(memory_kib=16, passes=2))
    assert dearer.unwrap(wrapped, CONTEXT) == pack_key()


def test_new_slots_cost_a_quarter_of_a_gib_three_times():
    assert Cost() == Cost(memory_kib=262144, passes=3, lanes=1)


@settings(deadline=None)
@given(bit=st.integers(0, WRAPPED_BYTES * 8 - 1).filter(lambda bit: bit not in DEAR_BITS))
@example(bit=24)  # 256 KiB more
def test_a_wrapped_key_with_any_bit_turned_does_not_come_back(bit):
    wrapped = bytearray(cheap_kek().wrap(pack_key(), CONTEXT))
    wrapped[bit // 8] ^= 1 << bit % 8
    assert cheap_kek().unwrap(bytes(wrapped), CONTEXT) is None


@given(wrapped=st.binary(max_size=200).filter(lambda b: len(b) != WRAPPED_BYTES))
def test_bytes_of_another_length_cost_no_hash(wrapped):
    assert PassphraseKek(never_asked).unwrap(wrapped, CONTEXT) is None


@pytest.mark.parametrize(
    ("memory_kib", "passes", "lanes"),
    [
        (1024 * 1024 + 1, 1, 1),
        (2**32 - 1, 1, 1),
        (8, 17, 1),
        (8, 2**32 - 1, 1),
        (72, 1, 9),
        (7, 1, 1),
        (63, 1, 8),
        (8, 0, 1),
        (8, 1, 0),
    ],
)
def test_costs_out_of_bounds_are_not_paid(memory_kib, passes, lanes):
    wrapped = with_costs(memory_kib, passes, lanes)
    assert PassphraseKek(never_asked).unwrap(wrapped, CONTEXT) is None


def test_a_layout_of_another_version_is_not_tried():
    wrapped = b"\2" + cheap_kek().wrap(pack_key(), CONTEXT)[1:]
    assert PassphraseKek(never_asked).unwrap(wrapped, CONTEXT) is None


def test_new_slots_may_not_cost_more_than_can_be_opened():
    with pytest.raises(KekError, match="at most"):
        PassphraseKek(asking(WORDS), Cost(memory_kib=1024 * 1024 + 1))


@pytest.mark.parametrize("words", ["", "short", "elevenchars", "ééééééééééé", "elevenchars\n"])
def test_a_new_passphrase_under_twelve_characters_is_refused(words):
    with pytest.raises(KekError, match="at least 12 characters"):
        cheap_kek(words).wrap(pack_key(), CONTEXT)


def test_a_short_passphrase_that_fits_no_slot_is_not_told_its_length():
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    assert cheap_kek("short").unwrap(wrapped, CONTEXT) is None


def test_an_accent_fits_however_the_keyboard_composes_it():
    wrapped = cheap_kek("un \u00e9t\u00e9 \u00e0 la mer").wrap(pack_key(), CONTEXT)
    decomposed = "un e\u0301te\u0301 a\u0300 la mer"
    assert cheap_kek(decomposed).unwrap(wrapped, CONTEXT) == pack_key()


def test_letters_that_only_look_alike_do_not_fit():
    wrapped = cheap_kek("\ufb01ve horses and a cart").wrap(pack_key(), CONTEXT)
    assert cheap_kek("five horses and a cart").unwrap(wrapped, CONTEXT) is None


def test_one_newline_at_the_end_does_not_count_and_two_do():
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    assert cheap_kek(WORDS + "\n").unwrap(wrapped, CONTEXT) == pack_key()
    assert cheap_kek(WORDS + "\n\n").unwrap(wrapped, CONTEXT) is None


def test_bytes_that_are_no_text_are_refused_and_not_shown():
    with pytest.raises(KekError) as caught:
        cheap_kek(b"secret \xff secret").wrap(pack_key(), CONTEXT)
    assert str(caught.value) == "a passphrase must be UTF-8 text"


def test_the_passphrase_is_wiped_once_it_is_hashed():
    given_out = []

    def ask(is_new):
        given_out.append(SecretBytes(bytearray(WORDS.encode())))
        return given_out[-1]

    PassphraseKek(ask, CHEAP).wrap(pack_key(), CONTEXT)
    with pytest.raises(ValueError, match="wiped"):
        given_out[0].expose()


def test_the_kek_shows_no_passphrase_and_all_passphrases_have_one_name():
    assert repr(cheap_kek()) == "PassphraseKek(…)"
    assert cheap_kek().kek_id == "passphrase"


def test_a_machine_without_the_memory_says_so():
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    kek = PassphraseKek(asking(WORDS), Cost(memory_kib=1024 * 1024, passes=1))
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + (256 << 20), hard))
    try:
        with pytest.raises(KekError, match="needs 1048576 KiB of memory"):
            kek.wrap(pack_key(), CONTEXT)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def opened_words(kek):
    """The words that a KEK asks for, by what they wrapped."""
    wrapped = cheap_kek().wrap(pack_key(), CONTEXT)
    return kek.unwrap(wrapped, CONTEXT) == pack_key()


def test_a_passphrase_in_a_file_is_used(tmp_path):
    path = tmp_path / "words"
    path.write_text(WORDS + "\n")
    path.chmod(0o600)
    assert opened_words(open_passphrase_kek(f"file={path}"))


def test_a_passphrase_in_a_file_that_is_not_there_shows_at_once(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be opened"):
        open_passphrase_kek(f"file={tmp_path}/words")


def test_a_passphrase_in_a_variable_is_used(monkeypatch):
    monkeypatch.setenv("EARWITNESS_WORDS", WORDS)
    assert opened_words(open_passphrase_kek("env=EARWITNESS_WORDS"))


def test_a_passphrase_in_a_descriptor_is_used_more_than_once():
    reader, writer = os.pipe()
    os.write(writer, WORDS.encode())
    os.close(writer)
    kek = open_passphrase_kek(f"fd={reader}")
    assert opened_words(kek)
    assert opened_words(kek)


@pytest.mark.parametrize("place", [WORDS, "file", "words=x", "=x"])
def test_a_passphrase_in_place_of_its_place_is_refused_and_not_repeated(place):
    with pytest.raises(KekError) as caught:
        open_passphrase_kek(place)
    assert str(caught.value) == (
        "a passphrase is passphrase: or passphrase:file=PATH, :env=NAME, :fd=N"
    )


def test_a_passphrase_is_typed_at_the_terminal_without_an_echo():
    printed, prompts = run_at_terminal(b"some typed words\n")
    assert printed == "got b'some typed words'\n"
    assert prompts == "Passphrase: \n"


def test_a_new_passphrase_is_typed_twice():
    prompts, answers = [], [WORDS, WORDS]
    with ask_at_terminal(True, lambda text: prompts.append(text) or answers.pop()) as passphrase:
        assert bytes(passphrase.expose()) == WORDS.encode()
    assert prompts == ["New passphrase: ", "The same again: "]


def test_a_new_passphrase_with_a_slip_is_refused():
    answers = [WORDS, WORDS + "!"]
    with pytest.raises(KekError, match="the two passphrases differ") as caught:
        ask_at_terminal(True, lambda text: answers.pop())
    assert WORDS not in str(caught.value)


@pytest.mark.parametrize("error", [EOFError(), OSError(5, "no"), getpass.GetPassWarning()])
def test_a_terminal_that_gives_no_passphrase_is_refused(error):
    def fail(text):
        raise error

    with pytest.raises(KekError, match="no terminal"):
        ask_at_terminal(False, fail)


def test_without_a_terminal_nobody_is_asked():
    child = subprocess.run(  # noqa: S603 (our own interpreter, constant text)
        [sys.executable, "-c", AT_TERMINAL],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    assert child.stdout.startswith("refused: there is no terminal to ask for the passphrase")


def test_a_passphrase_that_was_read_is_forgotten_and_one_that_is_asked_for_is_not_held(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery staple")
    path.chmod(0o600)
    kek = open_passphrase_kek(f"file={path}")
    kek.wipe()
    with pytest.raises(ValueError, match="wiped"):
        kek.wrap(pack_key(), CONTEXT)
    PassphraseKek(never_asked).wipe()
