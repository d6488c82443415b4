"""Checkpoints signed, read back, and forged in every way; C2SP's text to the letter."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from security.checkpoint import (
    Checkpoint,
    Dropped,
    open_checkpoint,
    origin_of,
    sign_checkpoint,
    split_notes,
    verifier_key,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
ORIGIN = origin_of("0123456789abcdef")
PLAIN = Checkpoint(ORIGIN, 950, bytes(32), 7, b"\xff" * 32, 1_700_000_000_000_000_000)
TOMBSTONE = replace(PLAIN, dropped=Dropped(1, 950, "pci"))
HASHES = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 10**19 - 1)
CHECKPOINTS = st.builds(
    Checkpoint,
    st.just(ORIGIN),
    NUMBERS,
    HASHES,
    NUMBERS,
    HASHES,
    NUMBERS,
    st.none() | st.builds(Dropped, NUMBERS, NUMBERS, st.sampled_from(["pci", "dev_2", "cn-x"])),
)
SEPARATORS = ["\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def signed_text(text, key=KEY, name=ORIGIN):
    """Any text, signed as notes are."""
    raw = key.public_key().public_bytes_raw()
    key_hash = hashlib.sha256(name.encode() + b"\n\x01" + raw).digest()[:4]
    signature = base64.b64encode(key_hash + key.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n"


def test_the_text_is_that_of_c2sp():
    text, _, signature = sign_checkpoint(TOMBSTONE, KEY).partition("\n\n")
    assert text.split("\n") == [
        "earwitness/audit/0123456789abcdef",
        "950",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "epoch 7",
        "mac //////////////////////////////////////////8=",
        "at 1700000000000000000",
        "dropped 1 950 pci",
    ]
    dash, name, encoded = signature.removesuffix("\n").split(" ")
    assert (dash, name, len(base64.b64decode(encoded))) == ("—", ORIGIN, 4 + 64)
    KEY.public_key().verify(base64.b64decode(encoded)[4:], TOMBSTONE.text().encode())


def test_the_key_is_printed_as_verifiers_of_notes_take_it():
    name, key_hash, encoded = verifier_key(ORIGIN, PUBLIC).split("+", 2)
    raw = base64.b64decode(encoded)
    assert raw == b"\x01" + PUBLIC.public_bytes_raw()
    assert key_hash == hashlib.sha256(f"{name}\n".encode() + raw).hexdigest()[:8]
    assert name == ORIGIN


@given(CHECKPOINTS)
def test_what_was_signed_is_read_back(checkpoint):
    note = sign_checkpoint(checkpoint, KEY)
    assert open_checkpoint(note, PUBLIC) == checkpoint
    assert note == signed_text(checkpoint.text())
    assert open_checkpoint(note, OTHER.public_key()) is None


@given(CHECKPOINTS, st.data())
def test_a_note_with_one_character_changed_is_none(checkpoint, data):
    note = sign_checkpoint(checkpoint, KEY)
    at = data.draw(st.integers(0, len(note) - 1))
    character = data.draw(st.characters(exclude_characters=[note[at]]))
    changed = note[:at] + character + note[at + 1 :]
    assert open_checkpoint(changed, PUBLIC) is None


@given(st.text() | st.lists(st.sampled_from([*SEPARATORS, "\n\n— ", "—", " ", "1", ORIGIN])))
def test_a_hostile_note_is_none_and_never_raises(parts):
    text = "".join(parts)
    assert open_checkpoint(text, PUBLIC) is None
    assert open_checkpoint(PLAIN.text() + "\n— " + text, PUBLIC) is None
    assert "".join(split_notes(text)) == text


@pytest.mark.parametrize(
    ("former", "changed"),
    [
        ("950\n", "0950\n"),
        ("950\n", "+950\n"),
        ("950\n", "-950\n"),
        ("950\n", "٩٥٠\n"),
        ("950\n", "99999999999999999999\n"),
        ("950\n", "950 \n"),
        ("epoch 7\n", ""),
        ("epoch 7\n", "epoch 7\nepoch 8\n"),
        ("epoch 7\n", "epoch 7\nmore 8\n"),
        ("AAA=\n", "AAB=\n"),  # bits that base64 leaves unused
        ("AAA=\n", "AA==\n"),
        ("AAA=\n", "AAA=AAAA\n"),
        ("mac /", "mac  /"),
        ("dropped 1 950 pci", "dropped 1 950"),
        ("dropped 1 950 pci", "dropped 1 950 p c i"),
        ("dropped 1 950 pci", "dropped x 950 pci"),
        (ORIGIN, ""),
        (ORIGIN, "two words"),
        (ORIGIN, "a+b"),
        *[("950\n", f"950{separator}\n") for separator in SEPARATORS],
        *[("\nepoch 7\n", f"{separator}epoch 7\n") for separator in SEPARATORS],
    ],
)
def test_a_text_that_we_would_not_write_is_none_even_if_signed(former, changed):
    text = TOMBSTONE.text().replace(former, changed, 1)
    assert text != TOMBSTONE.text()
    assert open_checkpoint(signed_text(text, name=text.split("\n")[0]), PUBLIC) is None


def test_signatures_of_others_beside_ours_are_left_alone():
    text = PLAIN.text()
    ours = signed_text(text).removeprefix(text + "\n")
    by_name = signed_text(text, OTHER).removeprefix(text + "\n")
    witness = signed_text(text, OTHER, "witness.test").removeprefix(text + "\n")
    odd = "— someone !!\n— \n"
    for signatures in (ours + by_name, by_name + ours, witness + odd + ours, ours + odd):
        assert open_checkpoint(f"{text}\n{signatures}", PUBLIC) == PLAIN
    assert open_checkpoint(f"{text}\n{by_name}{witness}", PUBLIC) is None


def test_a_signature_by_our_name_and_key_that_fails_spoils_the_note():
    text = PLAIN.text()
    ours = signed_text(text).removeprefix(text + "\n")
    wrong = signed_text(TOMBSTONE.text()).removeprefix(TOMBSTONE.text() + "\n")
    assert open_checkpoint(f"{text}\n{ours}{wrong}", PUBLIC) is None
    assert open_checkpoint(f"{text}\n{wrong}", PUBLIC) is None
    short = "— " + ORIGIN + " " + base64.b64encode(base64.b64decode(ours.split()[2])[:9]).decode()
    assert open_checkpoint(f"{text}\n{short}\n", PUBLIC) is None


def test_a_note_ends_behind_its_signatures():
    note = signed_text(PLAIN.text())
    assert open_checkpoint(note.removesuffix("\n"), PUBLIC) is None
    assert open_checkpoint(note + "more\n", PUBLIC) is None
    assert open_checkpoint(note.replace("\n\n", "\n"), PUBLIC) is None


@given(st.lists(CHECKPOINTS, max_size=5), st.integers(0, 400))
def test_a_file_of_notes_is_told_apart_and_what_a_crash_left_is_the_last(checkpoints, n_kept):
    notes = [sign_checkpoint(checkpoint, KEY) for checkpoint in checkpoints]
    torn = sign_checkpoint(PLAIN, KEY)[:n_kept]
    assert split_notes("".join(notes)) == notes
    assert split_notes("".join(notes) + torn) == notes + ([torn] if torn else [])


def test_two_signatures_are_of_one_note():
    note = signed_text(PLAIN.text()) + "— witness.test AAAA\n"
    assert split_notes(note + note) == [note, note]
    assert open_checkpoint(note, PUBLIC) == PLAIN
