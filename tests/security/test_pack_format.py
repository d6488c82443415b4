"""A second reader and writer of sealed packs, made from docs/pack-format.md alone.

Reader and writer import nothing of the project: where page and project part
ways, a test fails. They hold whole files in memory, so they are a yardstick and no way to serve a model.
"""

import hashlib
import hmac
import json
import re
import stat
import unicodedata
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

F = b"earwitness-pack/2"
SEGMENT_BYTES, HEADER_BYTES, TAG_BYTES = 1_048_576, 40, 16
FIRST_BYTES, NEXT_BYTES = 1_048_520, 1_048_560
CORE = {"engine", "format", "model_id", "plain_sizes", "sealed_names", "version"}
NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
ENGINE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
KEK = re.compile(r"[!-~]{1,256}")
HEX64 = re.compile(r"[0-9a-f]{64}")


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
    need(is_list(sizes, range(257)), "number of files")
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
    for slot in slots:
        wrapped = unbase64(slot["wrapped"], range(1, 2049))
        try:
            if slot["kek"] == mine and len(wrapped) == 60:
                return AESGCM(kek_bytes).decrypt(wrapped[:12], wrapped[12:], context)
            if slot["kek"] == "passphrase" and len(wrapped) == 86:
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
    manifest = manifest_of(folder, publisher_public_raw)
    core, digests = manifest["core"], manifest["sealed_sha256"]
    need(core["version"] >= oldest_versions.get(core["model_id"], 0), "an older version")
    stems = [f"f{i:03}.seg" for i in range(len(digests))]
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
        need(hashlib.sha256(sealed).hexdigest() == digests[i], "digest")
        file_key = derive(pack_key, F + b"|file|" + u32(i) + core_hash)
        contents[name] = unsealed(sealed, file_key, core_hash + u32(i) + u64(size))
    oldest_versions[core["model_id"]] = core["version"]
    return contents


def read_pack(folder, kek_bytes, publisher_public_raw, oldest_versions):
    """`kek_bytes`: a local KEK or a passphrase; `oldest_versions`: by model, raised by reading."""
    faults = (InvalidSignature, InvalidTag, OSError, RecursionError, ValueError)
    try:
        return read_strictly(folder, kek_bytes, publisher_public_raw, oldest_versions)
    except faults as fault:
        raise BadPackError("no pack for this reader") from fault


def write_pack(folder, files, kek_bytes, publisher, random_bytes, version=1):
    pack_key, names = random_bytes(32), list(files)
    sealed_names = AESGCM(derive(pack_key, F + b"|names")).encrypt(bytes(12), spelled(names), None)
    core = {
        "engine": "whisper-ct2",
        "format": F.decode(),
        "model_id": "second/writer",
        "plain_sizes": [len(plain) for plain in files.values()],
        "sealed_names": b64encode(sealed_names).decode(),
        "version": version,
    }
    core_hash, digests = hashlib.sha256(spelled(core)).digest(), []
    for i, plain in enumerate(files.values()):
        salt, prefix, count = random_bytes(32), random_bytes(7), segments(len(plain))
        file_key = derive(pack_key, F + b"|file|" + u32(i) + core_hash)
        cipher = AESGCM(derive(file_key, core_hash + u32(i) + u64(len(plain)), salt))
        starts = [0, *(FIRST_BYTES + n * NEXT_BYTES for n in range(count))]
        sealed = b"\x28" + salt + prefix
        for n in range(count):
            part = plain[starts[n] : starts[n + 1]]
            sealed += cipher.encrypt(prefix + u32(n) + bytes([n == count - 1]), part, None)
        (folder / f"f{i:03}.seg").write_bytes(sealed)
        digests.append(hashlib.sha256(sealed).hexdigest())
    commitment = derive(pack_key, F + b"|commit|" + core_hash).hex()
    manifest = {"core": core, "key_commitment": commitment, "sealed_sha256": digests}
    raw, nonce = spelled(manifest) + b"\n", random_bytes(12)
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_bytes(publisher.sign(F + b"|manifest\n" + raw))
    kek = "local:" + derive(kek_bytes, b"earwitness-kek-id/1", count=8).hex()
    wrapped = nonce + AESGCM(kek_bytes).encrypt(nonce, pack_key, F + b"|slot|" + core_hash)
    slots = {
        "format": "earwitness-keyslots/1",
        "slots": [{"kek": kek, "wrapped": b64encode(wrapped).decode()}],
    }
    mac = hmac.new(
        derive(pack_key, F + b"|slots|" + core_hash), spelled(slots), "sha256"
    ).hexdigest()
    (folder / "keyslots.json").write_bytes(spelled({"core": slots, "slots_mac": mac}) + b"\n")


def counting_bytes(count):
    return bytes(range(count))


def test_what_the_second_writer_writes_the_second_reader_reads(tmp_path):
    publisher = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
    files = {"a": b"", "b": b"1", "c": bytes(FIRST_BYTES + NEXT_BYTES + 1)}
    write_pack(tmp_path, files, bytes([1]) * 32, publisher, counting_bytes)
    public = publisher.public_key().public_bytes_raw()
    assert read_pack(tmp_path, bytes([1]) * 32, public, {}) == files
