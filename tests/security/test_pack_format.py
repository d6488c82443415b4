"""A second reader and writer of sealed packs, made from docs/pack-format.md alone.

Reader and writer import nothing of the project: where page and project part ways, a test fails.
Both hold whole files in memory, so they are a yardstick and no way to serve a model.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import unicodedata
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security.errors import PackError
from security.keks.local import LocalKek
from security.keks.passphrase import Cost, PassphraseKek
from security.pack_folder import PackTrust
from security.sealing import Seal, seal_pack
from security.secret import SecretBytes
from security.weights import open_pack

F = b"earwitness-pack/2"
SEGMENT_BYTES, HEADER_BYTES, TAG_BYTES = 1_048_576, 40, 16
FIRST_BYTES, NEXT_BYTES = 1_048_520, 1_048_560
CORE = {"engine", "format", "model_id", "plain_sizes", "sealed_names", "version"}
NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
ENGINE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
KEK = re.compile(r"[!-~]{1,256}")
HEX64 = re.compile(r"[0-9a-f]{64}")
PUBLISHER = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
KEK_BYTES, WORDS = bytes([1]) * 32, "caf\u00e9 au lait".encode()
MODEL = "second/writer"
FILES = {"empty.txt": b"", "model.bin": b"weights"}
WRONG = {"wrapped": "AA=="}
STRANGE_SLOT = {"kek": 'other:"\\~', "wrapped": "AA=="}


class BadPackError(Exception):
    """What was given is no pack, or not one for this reader."""


def need(is_so, what):
    if not is_so:
        raise BadPackError(what)


def u32(number):
    return number.to_bytes(4, "big")


def u64(number):
    return number.to_bytes(8, "big")


def derive(key, info, salt=None, count=32):
    return HKDF(hashes.SHA256(), count, salt, info).derive(key)


def spelled(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def is_text(value, pattern):
    return type(value) is str and pattern.fullmatch(value) is not None


def is_list(value, counts):
    return type(value) is list and len(value) in counts


def is_record(value, keys):
    return type(value) is dict and set(value) == keys


def whole(path, sizes):
    status = path.lstat()
    need(stat.S_ISREG(status.st_mode) and status.st_size in sizes, f"{path.name}: kind or length")
    raw = path.read_bytes()
    need(len(raw) == status.st_size, f"{path.name}: changed")
    return raw


def parsed(raw, keys):
    value = json.loads(raw.decode())
    need(is_record(value, keys) and spelled(value) + b"\n" == raw, "spelling or keys")
    return value


def unbase64(text, sizes):
    need(type(text) is str, "base64")
    raw = b64decode(text, validate=True)
    need(b64encode(raw).decode() == text and len(raw) in sizes, "base64")
    return raw


def manifest_of(folder, publisher_public_raw):
    raw = whole(folder / "manifest.json", range(256 * 1024 + 1))
    signature = whole(folder / "manifest.sig", [64])
    publisher = Ed25519PublicKey.from_public_bytes(publisher_public_raw)
    publisher.verify(signature, F + b"|manifest\n" + raw)
    manifest = parsed(raw, {"core", "key_commitment", "sealed_sha256"})
    core, digests = manifest["core"], manifest["sealed_sha256"]
    need(is_record(core, CORE) and core["format"] == F.decode(), "core")
    need(is_text(core["model_id"], MODEL_ID) and is_text(core["engine"], ENGINE), "model or engine")
    need(type(core["version"]) is int and 1 <= core["version"] < 2**63, "version")
    sizes = core["plain_sizes"]
    need(is_list(sizes, range(1, 257)), "number of files")
    need(all(type(size) is int and 0 <= size <= 2**38 for size in sizes), "sizes")
    need(is_list(digests, [len(sizes)]) and all(is_text(d, HEX64) for d in digests), "digests")
    return manifest


def opened_by_passphrase(wrapped, passphrase, context):
    head, nonce, sealed = wrapped[:26], wrapped[26:38], wrapped[38:]
    memory_kib, passes, lanes = (
        int.from_bytes(head[a:b], "big") for a, b in ((1, 5), (5, 9), (9, 10))
    )
    need(head[0] == 1 and memory_kib <= 2**20 and passes <= 16 and lanes <= 8, "cost")
    text = unicodedata.normalize("NFC", passphrase.decode().removesuffix("\n")).encode()
    costs = {"iterations": passes, "lanes": lanes, "memory_cost": memory_kib}
    key = Argon2id(salt=head[10:], length=32, **costs).derive(text)
    return AESGCM(key).decrypt(nonce, sealed, head + context)


def pack_key_of(slots, kek_bytes, context):
    mine = "local:" + derive(kek_bytes, b"earwitness-kek-id/1", count=8).hex()
    listed = [(slot["kek"], unbase64(slot["wrapped"], range(1, 2049))) for slot in slots]
    for kek, wrapped in listed:
        try:
            if kek == mine and len(wrapped) == 60:
                return AESGCM(kek_bytes).decrypt(wrapped[:12], wrapped[12:], context)
            if kek == "passphrase" and len(wrapped) == 86:
                return opened_by_passphrase(wrapped, kek_bytes, context)
        except (InvalidTag, BadPackError, ValueError):
            continue
    raise BadPackError("no slot for this key")


def unlocked(folder, manifest, core_hash, kek_bytes):
    keyslots = parsed(whole(folder / "keyslots.json", range(64 * 1024 + 1)), {"core", "slots_mac"})
    core = keyslots["core"]
    need(
        is_record(core, {"format", "slots"}) and core["format"] == "earwitness-keyslots/1", "slots"
    )
    need(is_list(core["slots"], range(1, 17)) and is_text(keyslots["slots_mac"], HEX64), "slots")
    need(
        all(is_record(s, {"kek", "wrapped"}) and is_text(s["kek"], KEK) for s in core["slots"]),
        "slot",
    )
    pack_key = pack_key_of(core["slots"], kek_bytes, F + b"|slot|" + core_hash)
    commitment = derive(pack_key, F + b"|commit|" + core_hash).hex()
    need(is_text(manifest["key_commitment"], HEX64), "commitment")
    need(hmac.compare_digest(commitment, manifest["key_commitment"]), "commitment")
    mac = hmac.new(
        derive(pack_key, F + b"|slots|" + core_hash), spelled(core), "sha256"
    ).hexdigest()
    need(hmac.compare_digest(mac, keyslots["slots_mac"]), "slots MAC")
    return pack_key


def segments(plain_size):
    return 1 if plain_size <= FIRST_BYTES else 1 - (FIRST_BYTES - plain_size) // NEXT_BYTES


def unsealed(sealed, file_key, associated):
    salt, prefix, count = sealed[1:33], sealed[33:40], -(-len(sealed) // SEGMENT_BYTES)
    need(sealed[0] == 0x28, "header")
    cipher, plain = AESGCM(derive(file_key, associated, salt)), []
    for n in range(count):
        part = sealed[n * SEGMENT_BYTES or HEADER_BYTES : (n + 1) * SEGMENT_BYTES]
        plain.append(cipher.decrypt(prefix + u32(n) + bytes([n == count - 1]), part, None))
    return b"".join(plain)


def read_strictly(folder, kek_bytes, publisher_public_raw, oldest_versions):
    need(not folder.is_symlink(), "a link")
    manifest = manifest_of(folder, publisher_public_raw)
    core = manifest["core"]
    need(core["version"] >= oldest_versions.get(core["model_id"], 0), "an older version")
    stems = [f"f{i:03}.seg" for i in range(len(core["plain_sizes"]))]
    found = sorted(path.name for path in folder.iterdir())
    need(found == sorted(["manifest.json", "manifest.sig", "keyslots.json", *stems]), "files")
    core_hash = hashlib.sha256(spelled(core)).digest()
    pack_key = unlocked(folder, manifest, core_hash, kek_bytes)
    names_key = AESGCM(derive(pack_key, F + b"|names"))
    listed = names_key.decrypt(bytes(12), unbase64(core["sealed_names"], range(2**18)), None)
    names = json.loads(listed.decode())
    need(spelled(names) == listed and is_list(names, [len(stems)]), "names")
    need(all(is_text(name, NAME) for name in names) and len(set(names)) == len(names), "names")
    contents = {}
    for i, (name, size) in enumerate(zip(names, core["plain_sizes"], strict=True)):
        sealed = whole(folder / stems[i], [HEADER_BYTES + size + TAG_BYTES * segments(size)])
        file_key = derive(pack_key, F + b"|file|" + u32(i) + core_hash)
        contents[name] = unsealed(sealed, file_key, core_hash + u32(i) + u64(size))
    return contents


def read_pack(folder, kek_bytes, publisher_public_raw, oldest_versions):
    """`kek_bytes`: a local KEK or a passphrase; `oldest_versions`: that may be opened, by model."""
    faults = (InvalidSignature, InvalidTag, OSError, RecursionError, ValueError)
    try:
        return read_strictly(folder, kek_bytes, publisher_public_raw, oldest_versions)
    except faults as fault:
        raise BadPackError("no pack for this reader") from fault


def write_pack(folder, files, random_bytes=secrets.token_bytes, **bends):
    """Each of `bends` changes what it is named for before the rest is made from it."""

    def bent(step, value):
        return bends.get(step, lambda same: same)(value)

    pack_key, names = random_bytes(32), bent("names", list(files))
    sealed_names = AESGCM(derive(pack_key, F + b"|names")).encrypt(bytes(12), spelled(names), None)
    core = {
        "engine": "whisper-ct2",
        "format": F.decode(),
        "model_id": MODEL,
        "plain_sizes": [len(plain) for plain in files.values()],
        "sealed_names": b64encode(sealed_names).decode(),
        "version": 3,
    }
    core = bent("core", core)
    core_hash, digests = hashlib.sha256(spelled(core)).digest(), []
    for i, plain in enumerate(files.values()):
        salt, prefix, count = random_bytes(32), random_bytes(7), segments(len(plain))
        file_key = derive(pack_key, F + b"|file|" + u32(i) + core_hash)
        cipher = AESGCM(derive(file_key, core_hash + u32(i) + u64(len(plain)), salt))
        edges = [0, *(FIRST_BYTES + n * NEXT_BYTES for n in range(count))]
        sealed = b"\x28" + salt + prefix
        for n in range(count):
            nonce = prefix + u32(n) + bytes([bent("last", n == count - 1)])
            sealed += cipher.encrypt(nonce, plain[edges[n] : edges[n + 1]], None)
        (folder / f"f{i:03}.seg").write_bytes(bent("sealed", sealed))
        digests.append(hashlib.sha256(bent("sealed", sealed)).hexdigest())
    commitment = derive(pack_key, F + b"|commit|" + core_hash).hex()
    manifest = {"core": core, "key_commitment": commitment, "sealed_sha256": digests}
    raw, nonce = bent("raw", spelled(bent("manifest", manifest)) + b"\n"), random_bytes(12)
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_bytes(PUBLISHER.sign(F + b"|manifest\n" + raw))
    kek = "local:" + derive(KEK_BYTES, b"earwitness-kek-id/1", count=8).hex()
    context = bent("context", F + b"|slot|" + core_hash)
    wrapped = nonce + AESGCM(KEK_BYTES).encrypt(nonce, bent("key", pack_key), context)
    slot = {"kek": kek, "wrapped": b64encode(wrapped).decode()}
    slots = bent("slots", {"format": "earwitness-keyslots/1", "slots": [slot]})
    mac = hmac.new(
        derive(pack_key, F + b"|slots|" + core_hash), spelled(slots), "sha256"
    ).hexdigest()
    keyslots = bent("keyslots", {"core": slots, "slots_mac": mac})
    (folder / "keyslots.json").write_bytes(bent("slots_raw", spelled(keyslots) + b"\n"))
    return folder


def local_kek(kek_bytes=KEK_BYTES):
    return LocalKek(SecretBytes(bytearray(kek_bytes)))


def passphrase_kek(words=WORDS):
    return PassphraseKek(lambda is_new: SecretBytes(bytearray(words)), Cost(memory_kib=8, passes=1))


def ours(folder, kek_bytes=KEK_BYTES, oldest=0):
    return read_pack(folder, kek_bytes, PUBLISHER.public_key().public_bytes_raw(), {MODEL: oldest})


def theirs(folder, kek=None, oldest=0):
    trust = PackTrust([kek or local_kek()], [PUBLISHER.public_key()], {MODEL: oldest})
    with open_pack(folder, trust) as pack:
        return {name: bytes(view) for name, view in pack.files.items()}


def seal(folder, files, kek):
    seal_pack(
        folder,
        model_id=MODEL,
        engine="whisper-ct2",
        version=3,
        files=files,
        seal=Seal([kek], PUBLISHER),
    )
    return folder


def filled(size):
    return hashlib.shake_128(u64(size)).digest(size)


SIZES = [0, 1, *(FIRST_BYTES + d for d in (-17, -16, -1, 0, 1))]
SIZES += [FIRST_BYTES + n * NEXT_BYTES + d for n in (1, 2) for d in (-1, 0, 1)]


@pytest.mark.parametrize("size", SIZES)
def test_what_the_project_seals_the_second_reader_reads(tmp_path, size):
    files = {"model.bin": filled(size)}
    assert ours(seal(tmp_path / "pack", files, local_kek())) == files


@pytest.mark.parametrize("size", SIZES)
def test_what_the_second_writer_writes_the_project_opens(tmp_path, size):
    files = {"model.bin": filled(size)}
    assert theirs(write_pack(tmp_path, files)) == files


def test_the_hashes_are_those_of_the_sealed_files(tmp_path):
    folder = seal(tmp_path / "pack", FILES, local_kek())
    sealed = [(folder / name).read_bytes() for name in ("f000.seg", "f001.seg")]
    hashes = [hashlib.sha256(raw).hexdigest() for raw in sealed]
    assert json.loads((folder / "manifest.json").read_text())["sealed_sha256"] == hashes


def test_many_files_pass_both_ways(tmp_path):
    files = {f"part-{i}.bin": filled(i) for i in range(256)}
    (tmp_path / "written").mkdir()
    assert theirs(write_pack(tmp_path / "written", files)) == files
    assert ours(seal(tmp_path / "sealed", files, local_kek())) == files


@pytest.mark.parametrize("typed", [WORDS, WORDS + b"\n", "cafe\u0301 au lait".encode()])
def test_a_pack_sealed_under_a_passphrase_opens_with_each_spelling_of_it(tmp_path, typed):
    folder = seal(tmp_path / "pack", FILES, passphrase_kek())
    assert ours(folder, typed) == FILES
    assert theirs(folder, passphrase_kek(typed)) == FILES


@pytest.mark.parametrize(
    "bends",
    [
        {"core": lambda core: core | {"version": 2**63 - 1}},
        {"core": lambda core: core | {"engine": "e" * 32}},
        {"names": lambda names: ["_", "n" * 128]},
        {"slots": lambda core: core | {"slots": core["slots"] * 16}},
        {"slots": lambda core: core | {"slots": [STRANGE_SLOT, *core["slots"]]}},
        {"slots": lambda core: core | {"slots": [core["slots"][0] | WRONG, *core["slots"]]}},
        {"manifest": lambda manifest: manifest | {"sealed_sha256": ["0" * 64] * 2}},
    ],
    ids=[
        "the highest version",
        "the longest engine",
        "the longest name",
        "the most slots",
        "a slot of no known kind",
        "a slot of the same name that does not fit",
        "hashes of other files, as the tags prove more",
    ],
)
def test_what_is_just_allowed_is_read_by_both(tmp_path, bends):
    write_pack(tmp_path, FILES, **bends)
    assert list(ours(tmp_path).values()) == list(theirs(tmp_path).values()) == list(FILES.values())


def refused_by_both(folder, oldest=0):
    with pytest.raises(BadPackError):
        ours(folder, oldest=oldest)
    with pytest.raises(PackError):
        theirs(folder, oldest=oldest)


def replaced(path, how):
    path.unlink()
    how(path)


def turned(path, position=-1):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def lengthened(path):
    path.write_bytes(path.read_bytes() + b"!")


def linked(folder):
    (folder / "f001.seg").rename(folder.parent / "elsewhere")
    (folder / "f001.seg").symlink_to(folder.parent / "elsewhere")


def exchanged(folder):
    (folder / "f000.seg").rename(folder / "f002.seg")
    (folder / "f001.seg").rename(folder / "f000.seg")
    (folder / "f002.seg").rename(folder / "f001.seg")


def signed_by_another(folder):
    stranger = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
    raw = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(stranger.sign(F + b"|manifest\n" + raw))


def signed_without_a_prefix(folder):
    raw = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(PUBLISHER.sign(raw))


DAMAGES = {
    "a file too many": lambda folder: (folder / "f002.seg").write_bytes(b""),
    "a hidden file too many": lambda folder: (folder / ".note").write_bytes(b""),
    "a file too few": lambda folder: (folder / "f001.seg").unlink(),
    "no signature": lambda folder: (folder / "manifest.sig").unlink(),
    "no slots": lambda folder: (folder / "keyslots.json").unlink(),
    "a link": linked,
    "a folder": lambda folder: replaced(folder / "f001.seg", Path.mkdir),
    "a pipe": lambda folder: replaced(folder / "f001.seg", os.mkfifo),
    "a file too long": lambda folder: lengthened(folder / "f001.seg"),
    "a file too short": lambda folder: os.truncate(folder / "f001.seg", 60),
    "a tag damaged": lambda folder: turned(folder / "f001.seg"),
    "a salt damaged": lambda folder: turned(folder / "f001.seg", 1),
    "a manifest damaged": lambda folder: turned(folder / "manifest.json", 20),
    "a signature damaged": lambda folder: turned(folder / "manifest.sig"),
    "a signature too long": lambda folder: lengthened(folder / "manifest.sig"),
    "a stranger's signature": signed_by_another,
    "a signature of the bare manifest": signed_without_a_prefix,
    "slots damaged": lambda folder: turned(folder / "keyslots.json", -10),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_pack_damaged_on_its_way_is_refused_by_both(tmp_path, damage):
    folder = tmp_path / "pack"
    folder.mkdir()
    damage(write_pack(folder, FILES))
    refused_by_both(folder)


BENDS = {
    "an unknown key": {"manifest": lambda m: m | {"more": 1}},
    "an unknown key in the core": {"core": lambda c: c | {"more": 1}},
    "a key twice": {"raw": lambda raw: raw.replace(b'"version":3', b'"version":3,"version":3')},
    "a manifest with spaces": {"raw": lambda raw: raw.replace(b":", b": ")},
    "a manifest without its newline": {"raw": lambda raw: raw[:-1]},
    "a manifest with a mark in front": {"raw": lambda raw: b"\xef\xbb\xbf" + raw},
    "a manifest nested without end": {"raw": lambda raw: b"[" * 2**17},
    "a manifest too long": {"raw": lambda raw: raw + b" " * 2**18},
    "another format": {"core": lambda c: c | {"format": "earwitness-pack/1"}},
    "a model without a name": {"core": lambda c: c | {"model_id": ""}},
    "an engine in capitals": {"core": lambda c: c | {"engine": "Whisper"}},
    "version 0": {"core": lambda c: c | {"version": 0}},
    "version 2^63": {"core": lambda c: c | {"version": 2**63}},
    "a version that is true": {"core": lambda c: c | {"version": True}},
    "a version with a fraction": {"core": lambda c: c | {"version": 3.0}},
    "a size below zero": {"core": lambda c: c | {"plain_sizes": [0, -1]}},
    "a size too large": {"core": lambda c: c | {"plain_sizes": [0, 2**38 + 1]}},
    "a size too few": {"core": lambda c: c | {"plain_sizes": [0]}},
    "another order of sizes": {"core": lambda c: c | {"plain_sizes": [7, 0]}},
    "names in sloppy base64": {"core": lambda c: c | {"sealed_names": c["sealed_names"] + "\n"}},
    "another key's commitment": {"manifest": lambda m: m | {"key_commitment": "0" * 64}},
    "a digest too many": {"manifest": lambda m: m | {"sealed_sha256": ["0" * 64] * 3}},
    "digests in capitals": {"manifest": lambda m: m | {"sealed_sha256": ["A" * 64] * 2}},
    "digests with a fraction": {"manifest": lambda m: m | {"sealed_sha256": [0.5] * 2}},
    "a name twice": {"names": lambda names: ["same", "same"]},
    "a name too few": {"names": lambda names: ["one"]},
    "a name that climbs": {"names": lambda names: ["a..b", "model.bin"]},
    "a name with a folder": {"names": lambda names: ["a/b", "model.bin"]},
    "a hidden name": {"names": lambda names: [".a", "model.bin"]},
    "a name too long": {"names": lambda names: ["n" * 129, "model.bin"]},
    "another header": {"sealed": lambda sealed: b"\x29" + sealed[1:]},
    "no last segment": {"last": lambda is_last: False},
    "a key wrapped for another pack": {"context": lambda context: context + b"!"},
    "another key wrapped": {"key": lambda key: bytes(32)},
    "a key too short": {"key": lambda key: key[:31]},
    "no slot": {"slots": lambda c: c | {"slots": []}},
    "too many slots": {"slots": lambda c: c | {"slots": c["slots"] * 17}},
    "another format of slots": {"slots": lambda c: c | {"format": "earwitness-keyslots/2"}},
    "an unknown key in a slot": {"slots": lambda c: c | {"slots": [c["slots"][0] | {"more": 1}]}},
    "a key name with a space": {"slots": lambda c: with_slot(c, kek="local: 1")},
    "a key name too long": {"slots": lambda c: with_slot(c, kek="k" * 257)},
    "a wrapping too long": {
        "slots": lambda c: with_slot(c, wrapped=b64encode(bytes(2049)).decode())
    },
    "an empty wrapping": {"slots": lambda c: with_slot(c, wrapped="")},
    "a slot added without the key": {"keyslots": lambda k: k | {"core": with_slot(k["core"])}},
    "an unknown key beside the slots": {"keyslots": lambda k: k | {"more": 1}},
    "slots with spaces": {"slots_raw": lambda raw: raw.replace(b":", b": ")},
    "slots nested without end": {"slots_raw": lambda raw: b"[" * 2**16},
    "slots too long": {"slots_raw": lambda raw: raw + b" " * 2**16},
}


def with_slot(core, **changes):
    return core | {"slots": [*core["slots"], STRANGE_SLOT | changes]}


@pytest.mark.parametrize("bends", BENDS.values(), ids=BENDS)
def test_a_pack_that_was_made_wrong_is_refused_by_both(tmp_path, bends):
    refused_by_both(write_pack(tmp_path, FILES, **bends))


def test_files_of_one_size_that_changed_places_are_refused_by_both(tmp_path):
    exchanged(write_pack(tmp_path, {"a": b"one size", "b": b"all fits"}))
    refused_by_both(tmp_path)


def test_an_older_version_is_refused_by_both(tmp_path):
    refused_by_both(write_pack(tmp_path, FILES), oldest=4)


def test_a_pack_without_files_is_refused_by_both(tmp_path):
    refused_by_both(write_pack(tmp_path, {}))


def test_a_folder_that_is_a_link_is_refused_by_both(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "link").symlink_to(write_pack(tmp_path / "pack", FILES))
    refused_by_both(tmp_path / "link")


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"\x02"), (1, u32(2**20 + 1)), (1, u32(7)), (5, u32(17)), (5, u32(0)), (9, b"\x09")],
    ids=["version", "memory", "too little memory", "passes", "no passes", "lanes"],
)
def test_a_passphrase_slot_of_unbearable_cost_is_refused_by_both(tmp_path, at, value):
    seal(tmp_path / "pack", FILES, passphrase_kek())
    path = tmp_path / "pack" / "keyslots.json"
    keyslots = json.loads(path.read_text())
    wrapped = b64decode(keyslots["core"]["slots"][0]["wrapped"])
    bent = wrapped[:at] + value + wrapped[at + len(value) :]
    keyslots["core"]["slots"][0]["wrapped"] = b64encode(bent).decode()
    path.write_bytes(spelled(keyslots) + b"\n")
    with pytest.raises(BadPackError):
        ours(tmp_path / "pack", WORDS)
    with pytest.raises(PackError):
        theirs(tmp_path / "pack", passphrase_kek())


FROZEN_SLOT = {
    "kek": "passphrase",
    "wrapped": (
        "AQAAAAgAAAABAQABAgMEBQYHCAkKCwwNDg8AAQIDBAUGBwgJCgtJgJ9QSJsYY4iHgJrPHMfL2htXygxa"
        "JLvaiU4EJwLv9LA380RK/k9YackvOj6n+Co="
    ),
}
FROZEN = {
    "manifest.json": (
        b'{"core":{"engine":"whisper-ct2","format":"earwitness-pack/2","model_id":"second/writer'
        b'","plain_sizes":[0,7],"sealed_names":"H5WVsxMSXHOmbGIraAg3fIsTqTRAQiHWpLqwheLwAYHINSbq'
        b'Ysf1B7U=","version":3},"key_commitment":"bccfa853d7ea6463e2b375996e7697d95ce504f4764bf'
        b'010c7b4206685c83d03","sealed_sha256":["50cd5244a2ada254dafc311c8a1ce04f542a59deb89cdfc'
        b'9bce1ad3247fe8730","1d2bca774fdfa919ce7a4f3ea4c0f5dc018094e41a5e88ec9445bab5772ec059"]'
        b"}\n"
    ),
    "keyslots.json": (
        b'{"core":{"format":"earwitness-keyslots/1","slots":[{"kek":"local:ff775b2a2ebe8e64","wr'
        b'apped":"AAECAwQFBgcICQoLu6eXJST7AH72Y+3PLGTGrL7XeRnhhFMXadMim72aI61SI1rhFbHGz48NUAqPHz'
        b'+X"},{"kek":"passphrase","wrapped":"AQAAAAgAAAABAQABAgMEBQYHCAkKCwwNDg8AAQIDBAUGBwgJCg'
        b'tJgJ9QSJsYY4iHgJrPHMfL2htXygxaJLvaiU4EJwLv9LA380RK/k9YackvOj6n+Co="}]},"slots_mac":"0d'
        b'1d8b3139b9ea3aeb6828332d25eba037080bc714aec07024682fef3a2866fe"}\n'
    ),
    "manifest.sig": bytes.fromhex(
        "8f8d31ac2faa2a0433845c26fe68a8c4e26800fec525c1341ddc9bdb37748fb3445be859eea6d3f412365f18"
        "b20f4952cef44b09941100138333b6ffba240809"
    ),
    "f000.seg": bytes.fromhex(
        "28000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00010203040506ecf41b18"
        "e2c505bb4a127977e59f424c"
    ),
    "f001.seg": bytes.fromhex(
        "28000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000102030405066f627738"
        "6de622e80f872827cd25bdcc6cd806784864d5"
    ),
}
"""`FILES` under keys and salts that count up from 0; `KEK_BYTES` and `WORDS` open it."""


@pytest.mark.parametrize("kek_bytes", [KEK_BYTES, WORDS], ids=["key", "passphrase"])
def test_the_frozen_pack_stays_readable(tmp_path, kek_bytes):
    for name, content in FROZEN.items():
        (tmp_path / name).write_bytes(content)
    kek = local_kek() if kek_bytes == KEK_BYTES else passphrase_kek()
    assert ours(tmp_path, kek_bytes) == theirs(tmp_path, kek) == FILES


def test_the_second_writer_still_writes_the_frozen_pack(tmp_path):
    write_pack(tmp_path, FILES, lambda count: bytes(range(count)), slots=with_words)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == FROZEN


def with_words(core):
    return core | {"slots": [*core["slots"], FROZEN_SLOT]}
