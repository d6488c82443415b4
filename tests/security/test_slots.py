"""Lists of wrapped keys, whole, edited and absurd, in; the pack key or one refusal out."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import KekError, PackError, PackReason, SealError
from security.slots import (
    MAX_SLOTS,
    MAX_SLOTS_BYTES,
    MAX_WRAPPED_BYTES,
    Slot,
    encode_slots,
    read_slots,
    unlock,
    wrap_slot,
)
from tests.pack_fakes import FakeKek, pack_key, reason_of

CORE_HASH = bytes(range(32))
FROZEN = "f63459b52efe7eb5a70fa05aee7b18e8e4d996a345ab352eba10f1414f26c83b"
A, B, C = FakeKek("fake:a"), FakeKek("fake:b"), FakeKek("fake:c")


def slots_for(*keks, key=None, core_hash=CORE_HASH):
    return [wrap_slot(kek, key or pack_key(), core_hash) for kek in keks]


def encoded_for(*keks):
    return encode_slots(slots_for(*keks), pack_key(), CORE_HASH)


def plain_slots(n_slots):
    return [Slot(f"fake:{number}", b"w") for number in range(n_slots)]


def refused(encoded, *keks, core_hash=CORE_HASH):
    with pytest.raises(PackError) as caught:
        unlock(encoded, keks or [A], core_hash)
    return reason_of(caught.value)


def refused_unread(encoded):
    with pytest.raises(PackError) as caught:
        read_slots(encoded)
    return reason_of(caught.value)


def respelt(core):
    """A slots file around any core, under the right MAC."""
    whole = encoded_for(A)
    return whole[: whole.index(b"{", 1)] + core + whole[-81:]


@pytest.mark.parametrize("kek", [A, B, C], ids=lambda kek: kek.kek_id)
def test_every_key_that_has_a_slot_opens_the_pack(kek):
    key, slot = unlock(encoded_for(A, B, C), [kek], CORE_HASH)
    assert key == pack_key()
    assert slot.kek == kek.kek_id


def test_the_slots_come_back_as_they_were():
    slots = slots_for(B, A)
    assert read_slots(encode_slots(slots, pack_key(), CORE_HASH)) == tuple(slots)


def test_the_file_is_canonical_json():
    encoded = encoded_for(A, B)
    parsed = json.loads(encoded)
    assert encoded.decode() == json.dumps(parsed, sort_keys=True, separators=(",", ":")) + "\n"
    assert parsed["core"]["format"] == "earwitness-keyslots/1"


def test_the_format_does_not_drift():
    encoded = encode_slots([Slot("fake:a", b"wrapped")], pack_key(), CORE_HASH)
    assert hashlib.sha256(encoded).hexdigest() == FROZEN


def test_the_first_key_of_the_trust_is_asked_first_whatever_the_order_of_the_slots():
    _, slot = unlock(encoded_for(A, B), [B, A], CORE_HASH)
    assert slot.kek == "fake:b"


def test_a_key_without_a_slot_is_never_asked():
    stranger = FakeKek("fake:stranger", is_reachable=False)
    assert refused(encoded_for(A), stranger) is PackReason.NO_SLOT
    assert stranger.n_unwrapped == 0


def test_a_key_that_cannot_be_asked_does_not_stop_the_next():
    away = FakeKek("fake:a", is_reachable=False)
    key, slot = unlock(encoded_for(A, B), [away, B], CORE_HASH)
    assert (key, slot.kek) == (pack_key(), "fake:b")


def test_a_key_that_cannot_be_asked_is_asked_once_for_all_its_slots():
    away = FakeKek("fake:a", is_reachable=False)
    with pytest.raises(KekError, match="fake:a does not answer"):
        unlock(encoded_for(A, A), [away], CORE_HASH)
    assert away.n_unwrapped == 1


def test_a_key_that_might_fit_and_cannot_be_asked_is_told_apart_from_one_that_does_not_fit():
    away = FakeKek("fake:b", is_reachable=False)
    with pytest.raises(KekError, match="fake:b does not answer"):
        unlock(encoded_for(A, B), [away, C], CORE_HASH)


def test_no_key_at_all_opens_nothing():
    with pytest.raises(PackError) as caught:
        unlock(encoded_for(A), [], CORE_HASH)
    assert caught.value.reason is PackReason.NO_SLOT


def test_a_key_that_only_has_the_name_of_a_slot_is_refused():
    slot = Slot("fake:a", slots_for(B)[0].wrapped)
    assert refused(encode_slots([slot], pack_key(), CORE_HASH)) is PackReason.NO_SLOT


def test_of_two_slots_under_one_id_the_one_that_fits_opens():
    stale = Slot("fake:a", slots_for(B)[0].wrapped)
    fresh = slots_for(A)[0]
    key, slot = unlock(encode_slots([stale, fresh], pack_key(), CORE_HASH), [A], CORE_HASH)
    assert (key, slot) == (pack_key(), fresh)


def test_a_slot_of_another_pack_does_not_open_this_one():
    foreign = slots_for(A, core_hash=bytes(32))
    encoded = encode_slots(foreign, pack_key(), CORE_HASH)
    assert refused(encoded) is PackReason.NO_SLOT


def test_a_list_of_another_pack_is_refused_whole():
    assert refused(encoded_for(A), core_hash=bytes(32)) is PackReason.NO_SLOT


def test_a_slot_that_holds_another_key_is_refused():
    slots = slots_for(A, key=pack_key(8))
    assert refused(encode_slots(slots, pack_key(), CORE_HASH)) is PackReason.BAD_SLOTS


def test_the_wrong_key_of_a_slot_is_wiped():
    given_out = []

    class Remembering(FakeKek):
        def unwrap(self, wrapped, context):
            given_out.append(super().unwrap(wrapped, context))
            return given_out[-1]

    slots = slots_for(A, key=pack_key(8))
    refused(encode_slots(slots, pack_key(), CORE_HASH), Remembering("fake:a"))
    with pytest.raises(ValueError, match="wiped"):
        given_out[0].expose()


def test_a_slot_added_without_the_pack_key_is_refused():
    encoded = encode_slots([*slots_for(A), Slot("fake:b", b"w")], pack_key(8), CORE_HASH)
    assert refused(encoded) is PackReason.BAD_SLOTS


def test_a_damaged_slot_shows_to_the_key_of_another():
    first, second = slots_for(A, B)
    encoded = encode_slots([first, second], pack_key(), CORE_HASH)
    damaged = Slot("fake:b", bytes([second.wrapped[0] ^ 1]) + second.wrapped[1:])
    other = encode_slots([first, damaged], pack_key(), CORE_HASH)
    assert refused(other[:-67] + encoded[-67:]) is PackReason.BAD_SLOTS


@given(st.data())
def test_any_turned_bit_is_refused(data):
    encoded = bytearray(encoded_for(A, B))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(bytes(encoded)) in {PackReason.BAD_SLOTS, PackReason.NO_SLOT}


@given(st.binary(max_size=400))
def test_any_other_bytes_are_refused(noise):
    assert refused(noise) is PackReason.BAD_SLOTS


@given(st.data())
def test_a_list_cut_anywhere_is_refused(data):
    encoded = encoded_for(A)
    refused(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.binary(min_size=1, max_size=100))
def test_a_list_with_a_tail_is_refused(tail):
    refused(encoded_for(A) + tail)


def test_a_list_over_the_limit_is_refused_unread():
    assert refused_unread(b"x" * (MAX_SLOTS_BYTES + 1)) is PackReason.BAD_SLOTS


@pytest.mark.parametrize(
    "core",
    [
        b"[]",
        b"not json",
        b"[" * 20_000,
        b"\xff",
        b'{"format": "earwitness-keyslots/1","slots":[{"kek":"k","wrapped":"dw=="}]}',
        b'{"format":"earwitness-keyslots/2","slots":[{"kek":"k","wrapped":"dw=="}]}',
        b'{"format":"earwitness-keyslots/1","slots":[]}',
        b'{"format":"earwitness-keyslots/1","slots":[{"kek":"","wrapped":"dw=="}]}',
        b'{"format":"earwitness-keyslots/1","slots":[{"kek":"a b","wrapped":"dw=="}]}',
        b'{"format":"earwitness-keyslots/1","slots":[{"kek":"k","wrapped":""}]}',
        b'{"format":"earwitness-keyslots/1","slots":[{"kek":"k","wrapped":"dx=="}]}',
        b'{"format":"earwitness-keyslots/1","slots":[{"kek":"k","wrapped":"dw==","url":"x"}]}',
        b'{"format":"earwitness-keyslots/1","slots":[{"kek":"k","wrapped":"dw=="}],"more":1}',
    ],
)
def test_a_list_in_another_spelling_is_refused(core):
    assert refused_unread(respelt(core)) is PackReason.BAD_SLOTS


def test_the_largest_list_that_can_be_kept_can_be_read():
    largest = [Slot(f"{n:0>2d}" + '"' * 254, b"w" * MAX_WRAPPED_BYTES) for n in range(MAX_SLOTS)]
    assert read_slots(encode_slots(largest, pack_key(), CORE_HASH)) == tuple(largest)


@pytest.mark.parametrize(
    "slots",
    [
        [],
        plain_slots(MAX_SLOTS + 1),
        [Slot("", b"w")],
        [Slot("two words", b"w")],
        [Slot("line\n", b"w")],
        [Slot("k" * 257, b"w")],
        [Slot("fake:a", b"")],
        [Slot("fake:a", b"w" * (MAX_WRAPPED_BYTES + 1))],
    ],
    ids=["none", "too many", "no id", "space", "line", "long id", "empty", "long"],
)
def test_a_list_out_of_bounds_is_not_kept(slots):
    with pytest.raises(SealError, match="cannot be kept"):
        encode_slots(slots, pack_key(), CORE_HASH)


def test_as_many_slots_as_allowed_are_kept():
    encoded = encode_slots(plain_slots(MAX_SLOTS), pack_key(), CORE_HASH)
    assert len(read_slots(encoded)) == MAX_SLOTS
