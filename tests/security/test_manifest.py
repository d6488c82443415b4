"""Manifests whole, edited, absurd, signed by anybody, in; the same manifest or one refusal out."""

import hashlib
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from security.errors import PackError, PackReason, SealError
from security.manifest import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    Manifest,
    decode_manifest,
    fingerprint,
    new_core,
    new_manifest,
    open_names,
    sealed_name,
    sign_manifest,
)
from security.sealed import Layout, derive_key
from tests.pack_fakes import OTHER_PUBLISHER, PUBLISHER, pack_key, reason_of

TRUSTED = [PUBLISHER.public_key()]
SIZES = {"config.json": 10, "model.bin": 20}


def core(**changes):
    fields = {"model_id": "openai/whisper-tiny.en", "engine": "whisper-ct2", "version": 3}
    return new_core(**{**fields, "sizes": SIZES, "pack_key": pack_key(), **changes})


def manifest(**changes):
    return around(core(**changes))


def around(any_core, key=None):
    hashes = ["0" * 64] * len(any_core.plain_sizes)
    return new_manifest(any_core, hashes, key or pack_key())


def changed(whole, **changes):
    """A manifest whose core is what no honest publisher would sign."""
    return around(msgspec.structs.replace(whole.core, **changes))


def decoded(encoded, publisher=PUBLISHER, trusted=TRUSTED):
    return decode_manifest(encoded, sign_manifest(encoded, publisher), trusted)


def refused(encoded, signature, trusted=TRUSTED):
    with pytest.raises(PackError) as caught:
        decode_manifest(encoded, signature, trusted)
    return reason_of(caught.value)


def refused_though_signed(encoded):
    return refused(encoded, sign_manifest(encoded, PUBLISHER))


def refused_names(whole, key=None):
    with pytest.raises(PackError) as caught:
        open_names(whole, key or pack_key())
    return reason_of(caught.value)


def names_sealed(plain, key=None):
    """What stands in a core for the names of the files, around any bytes."""
    with derive_key(key or pack_key(), b"earwitness-pack/2|names") as names_key:
        return AESGCM(names_key.expose()).encrypt(bytes(12), plain, None)


def test_a_manifest_comes_back_as_it_was_with_whoever_signed_it():
    assert decoded(manifest().encoded) == (manifest(), PUBLISHER.public_key())


def test_the_names_come_back_with_the_key():
    assert open_names(manifest(), pack_key()) == ("config.json", "model.bin")


def test_no_name_shows_without_the_key():
    assert b"config" not in manifest().encoded


def test_the_file_is_canonical_json():
    encoded = manifest().encoded
    parsed = json.loads(encoded)
    assert encoded.decode() == json.dumps(parsed, sort_keys=True, separators=(",", ":")) + "\n"
    assert parsed["core"]["format"] == "earwitness-pack/2"


def test_the_format_does_not_drift():
    assert (
        hashlib.sha256(manifest().encoded).hexdigest()
        == "db611dc46194fc780bb9c46f65e7f4059198231118f6d1c97d577894236a1769"
    )


def test_the_signature_does_not_drift():
    signature = sign_manifest(b"manifest", PUBLISHER)
    PUBLISHER.public_key().verify(signature, b"earwitness-pack/2|manifest\nmanifest")


def test_a_publisher_is_known_by_sixteen_digits():
    public = PUBLISHER.public_key()
    assert fingerprint(public) == hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
    assert fingerprint(public) != fingerprint(OTHER_PUBLISHER.public_key())


def test_sealed_files_are_named_by_their_place():
    assert [sealed_name(0), sealed_name(255)] == ["f000.seg", "f255.seg"]


def test_the_second_trusted_publisher_is_accepted_and_told_apart():
    trusted = [PUBLISHER.public_key(), OTHER_PUBLISHER.public_key()]
    _, publisher = decoded(manifest().encoded, OTHER_PUBLISHER, trusted)
    assert publisher == OTHER_PUBLISHER.public_key()


def test_a_publisher_who_is_not_trusted_is_refused():
    encoded = manifest().encoded
    signature = sign_manifest(encoded, OTHER_PUBLISHER)
    assert refused(encoded, signature) is PackReason.BAD_SIGNATURE


def test_where_nobody_is_trusted_everything_is_refused():
    encoded = manifest().encoded
    signature = sign_manifest(encoded, PUBLISHER)
    assert refused(encoded, signature, []) is PackReason.BAD_SIGNATURE


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), bytes(65)])
def test_what_is_no_signature_is_refused(signature):
    assert refused(manifest().encoded, signature) is PackReason.BAD_SIGNATURE


def test_a_signature_with_a_trailing_byte_is_refused():
    signature = sign_manifest(manifest().encoded, PUBLISHER) + b"\0"
    assert refused(manifest().encoded, signature) is PackReason.BAD_SIGNATURE


def test_the_signature_of_another_pack_is_refused():
    signature = sign_manifest(manifest(version=2).encoded, PUBLISHER)
    assert refused(manifest().encoded, signature) is PackReason.BAD_SIGNATURE


def test_a_signature_made_for_another_end_is_refused():
    encoded = manifest().encoded
    assert refused(encoded, PUBLISHER.sign(encoded)) is PackReason.BAD_SIGNATURE


@pytest.mark.parametrize("encoded", [b"", b"not json", b"[" * 20_000, b"\xff"])
def test_what_nobody_signed_is_not_even_parsed(encoded):
    assert refused(encoded, bytes(64)) is PackReason.BAD_SIGNATURE


@given(st.data())
def test_any_turned_bit_of_the_manifest_or_the_signature_is_refused(data):
    encoded = manifest().encoded
    parts = [bytearray(encoded), bytearray(sign_manifest(encoded, PUBLISHER))]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(bytes(parts[0]), bytes(parts[1])) is PackReason.BAD_SIGNATURE


@given(st.binary(max_size=400))
def test_any_other_bytes_are_refused_even_if_they_are_signed(noise):
    assert refused_though_signed(noise) is PackReason.BAD_MANIFEST


@given(st.data())
def test_a_manifest_cut_anywhere_is_refused_even_if_it_is_signed(data):
    encoded = manifest().encoded
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    assert refused_though_signed(cut) is PackReason.BAD_MANIFEST


def test_a_manifest_over_the_limit_is_refused_unread():
    assert refused_though_signed(b"x" * (MAX_MANIFEST_BYTES + 1)) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":3', b'"version":3,"version":3'),
        (b'"version":3', b'"version": 3'),
        (b'"version":3', b'"version":3,"zone":1'),
        (b'"version":3', b'"version":3.0'),
        (b'"version":3', b'"version":"3"'),
        (b'"version":3', b'"version":true'),
        (b'"version":3', b'"version":0'),
        (b'"version":3', b'"version":9223372036854775808'),
        (b'"whisper-ct2"', b'"whisper\\u002dct2"'),
        (b'"whisper-ct2"', b'"Whisper CT2"'),
        (b"earwitness-pack/2", b"earwitness-pack/1"),
        (b"[10,20]", b"[10,-1]"),
        (b"[10,20]", b"[10,274877906945]"),
        (b"[10,20]", b"[10]"),
        (b"[10,20]", b"[]"),
        (b'"' + b"0" * 64, b'"' + b"0" * 63),
        (b'"' + b"0" * 64, b'"' + b"A" * 64),
        (b"}\n", b"}"),
        (b"}\n", b"}\n\n"),
        (b'{"core":', b'{"more":1,"core":'),
        (b'{"core":', b'\xff{"core":'),
    ],
)
def test_a_manifest_in_another_spelling_is_refused_even_if_it_is_signed(old, new):
    encoded = manifest().encoded.replace(old, new)
    assert encoded != manifest().encoded
    assert refused_though_signed(encoded) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize("encoded", [b"[]", b"null", b"[" * 20_000, b'{"core":' * 20_000])
def test_what_is_no_manifest_is_refused_even_if_it_is_signed(encoded):
    assert refused_though_signed(encoded) is PackReason.BAD_MANIFEST


def test_a_manifest_for_another_key_is_refused_whoever_signed_it():
    other = core(pack_key=pack_key(8))
    whole, _ = decoded(around(other, pack_key(8)).encoded)
    assert refused_names(whole) is PackReason.BAD_MANIFEST


def test_a_commitment_is_to_the_whole_core():
    commitment = manifest(version=4).key_commitment
    moved = msgspec.structs.replace(manifest(), key_commitment=commitment)
    assert refused_names(moved) is PackReason.BAD_MANIFEST


def test_names_of_another_pack_are_refused_even_under_the_right_commitment():
    foreign = core(pack_key=pack_key(8)).sealed_names
    assert refused_names(changed(manifest(), sealed_names=foreign)) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"not json",
        b"\xff",
        b"[" * 20_000,
        b'["one"]',
        b'["one","two","three"]',
        b'["one","one"]',
        b'["one",2]',
        b'["one","../two"]',
        b'["one","t..wo"]',
        b'["one",".two"]',
        b'["one","t/wo"]',
    ],
)
def test_names_that_could_mislead_are_not_opened(plain):
    absurd = changed(manifest(), sealed_names=names_sealed(plain))
    assert refused_names(absurd) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(64)])
def test_names_that_are_not_sealed_are_not_opened(sealed):
    assert refused_names(changed(manifest(), sealed_names=sealed)) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a..b", "a\nb", "a\x00b", "a b"),
        *("a\u202eb", "é", "a\n", "x" * 129, "\udcff"),
    ],
)
def test_a_name_that_could_mislead_is_not_sealed(name):
    with pytest.raises(SealError, match="cannot be described"):
        core(sizes={name: 10})


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": {}},
        {"sizes": {f"f{index}": 1 for index in range(MAX_FILES + 1)}},
        {"sizes": {"a": -1}},
        {"sizes": {"a": MAX_FILE_BYTES + 1}},
        {"version": 0},
        {"version": -1},
        {"version": 1 << 63},
        {"version": 1 << 64},
        {"engine": "Whisper CT2"},
        {"engine": ""},
        {"model_id": ""},
        {"model_id": "a\nb"},
        {"model_id": "\udcff"},
    ],
)
def test_a_pack_out_of_bounds_is_not_described(changes):
    with pytest.raises(SealError, match="cannot be described"):
        core(**changes)


def test_the_largest_manifest_that_can_be_sealed_can_be_opened():
    most = {f"{n:0128d}": MAX_FILE_BYTES for n in range(MAX_FILES)}
    largest = manifest(sizes=most, model_id="m" * 128, engine="e" * 32, version=(1 << 63) - 1)
    whole, _ = decoded(largest.encoded)
    assert open_names(whole, pack_key()) == tuple(most)


def test_every_file_is_bound_to_its_place_its_size_and_the_whole_core():
    streams = core().streams
    assert [stream.ordinal for stream in streams] == [0, 1]
    assert [stream.layout for stream in streams] == [Layout(10), Layout(20)]
    assert {stream.core_hash for stream in streams} == {core().sha256}
    assert core(version=4).sha256 != core().sha256


def test_the_hashes_of_the_sealed_files_are_under_the_signature():
    whole = msgspec.structs.replace(manifest(), sealed_sha256=("1" * 64, "2" * 64))
    signature = sign_manifest(manifest().encoded, PUBLISHER)
    assert refused(whole.encoded, signature) is PackReason.BAD_SIGNATURE


def test_a_manifest_cannot_be_changed():
    with pytest.raises(AttributeError):
        manifest().core.version = 4
    with pytest.raises(AttributeError):
        manifest().key_commitment = ""


def test_a_manifest_is_what_its_parts_say():
    assert isinstance(manifest(), Manifest)
    assert manifest().sealed_sha256 == ("0" * 64, "0" * 64)
