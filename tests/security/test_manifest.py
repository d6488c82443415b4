"""Manifests whole, edited and absurd in; the same manifest or one refusal out."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from security.errors import PackError, PackReason, SealError
from security.manifest import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    Manifest,
    PackedFile,
    decode_manifest,
    encode_manifest,
)
from security.sealed import derive_key
from security.secret import SecretBytes


def pack_key(seed=7):
    return SecretBytes(bytearray([seed] * 32))


def files(*names):
    return tuple(PackedFile(ordinal, name, 10) for ordinal, name in enumerate(names))


def manifest(**changes):
    fields = {
        "model_id": "openai/whisper-tiny.en",
        "engine": "whisper-ct2",
        "version": 3,
        "files": files("config.json", "model.bin"),
    }
    return Manifest(**{**fields, **changes})


def refused(encoded, key=None):
    with pytest.raises(PackError) as caught:
        decode_manifest(encoded, key or pack_key())
    return caught.value.reason


def vouched(core):
    """A manifest file around any core, under the right key."""
    mac = HMAC(derive_key(pack_key(), b"earwitness-pack/1|manifest").expose(), SHA256())
    mac.update(core)
    return b'{"core":' + core + b',"manifest_mac":"' + mac.finalize().hex().encode() + b'"}\n'


def test_a_manifest_comes_back_as_it_was():
    assert decode_manifest(encode_manifest(manifest(), pack_key()), pack_key()) == manifest()


def test_the_file_is_canonical_json():
    encoded = encode_manifest(manifest(), pack_key())
    parsed = json.loads(encoded)
    canonical = json.dumps(parsed, sort_keys=True, separators=(",", ":")) + "\n"
    assert encoded.decode() == canonical
    assert parsed["core"]["format"] == "earwitness-pack/1"


def test_the_format_does_not_drift():
    encoded = encode_manifest(manifest(), pack_key())
    assert (
        hashlib.sha256(encoded).hexdigest()
        == "bf5bb2c5a6c096231db384bbf373381f692c0ce27fea9c1d55b1f48027738375"
    )


def test_a_wrong_key_is_refused():
    encoded = encode_manifest(manifest(), pack_key())
    assert refused(encoded, pack_key(8)) is PackReason.WRONG_KEY_OR_MANIFEST


@given(st.data())
def test_any_turned_bit_is_refused(data):
    encoded = bytearray(encode_manifest(manifest(), pack_key()))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= 1 << data.draw(st.integers(0, 7))
    refused(bytes(encoded))


@given(st.binary(max_size=400))
def test_any_other_bytes_are_refused(noise):
    refused(noise)


@given(st.integers(0, 400))
def test_a_cut_manifest_is_refused(length):
    refused(encode_manifest(manifest(), pack_key())[: min(length, 200)])


def test_a_manifest_over_the_limit_is_refused_unread():
    assert refused(b"x" * (MAX_MANIFEST_BYTES + 1)) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "/a",
        "a\\b",
        "a..b",
        "a\nb",
        "a\x00b",
        "a b",
        "a\u202eb",
        "é",
        "a\n",
        "x" * 129,
    ],
)
def test_a_name_that_could_mislead_is_neither_sealed_nor_opened(name):
    absurd = manifest(files=files(name))
    with pytest.raises(SealError):
        encode_manifest(absurd, pack_key())
    assert refused(vouched(absurd.core)) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize(
    "changes",
    [
        {"files": ()},
        {"files": files("a", "a")},
        {"files": files(*(f"f{index}" for index in range(MAX_FILES + 1)))},
        {"files": (PackedFile(1, "a", 1),)},
        {"files": (PackedFile(0, "a", 1), PackedFile(0, "b", 1))},
        {"files": (PackedFile(0, "a", -1),)},
        {"files": (PackedFile(0, "a", MAX_FILE_BYTES + 1),)},
        {"version": -1},
        {"version": 1 << 63},
        {"version": True},
        {"engine": "Whisper CT2"},
        {"model_id": ""},
        {"model_id": "a\nb"},
        {"format": "earwitness-pack/2"},
    ],
)
def test_a_manifest_out_of_bounds_is_neither_sealed_nor_opened(changes):
    absurd = manifest(**changes)
    with pytest.raises(SealError):
        encode_manifest(absurd, pack_key())
    assert refused(vouched(absurd.core)) is PackReason.BAD_MANIFEST


def test_the_largest_manifest_that_can_be_sealed_can_be_opened():
    most = tuple(PackedFile(n, f"{n:0128d}", MAX_FILE_BYTES) for n in range(MAX_FILES))
    largest = manifest(files=most, model_id="m" * 128, engine="e" * 32, version=(1 << 63) - 1)
    assert decode_manifest(encode_manifest(largest, pack_key()), pack_key()) == largest


@pytest.mark.parametrize(
    "core",
    [
        b"[]",
        b"not json",
        b"[" * 20_000,
        b"\xff",
        manifest().core.replace(b'"version":3', b'"version":3,"version":3'),
        manifest().core.replace(b'"version":3', b'"version": 3'),
        manifest().core.replace(b'"version":3', b'"version":3,"zone":1'),
        manifest().core.replace(b'"version":3', b'"version":3.0'),
        manifest().core.replace(b'"whisper-ct2"', b'"whisper\\u002dct2"'),
    ],
)
def test_a_core_in_another_spelling_is_refused_even_under_the_right_key(core):
    assert refused(vouched(core)) is PackReason.BAD_MANIFEST


def test_every_file_is_bound_to_the_whole_core():
    first, other = manifest(), manifest(version=4)
    assert first.stream(first.files[0]).core_hash != other.stream(other.files[0]).core_hash


def test_a_manifest_cannot_be_changed():
    with pytest.raises(AttributeError):
        manifest().version = 4
