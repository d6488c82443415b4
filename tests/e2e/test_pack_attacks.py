"""Ten thousand packs, each changed somewhere, in; ten thousand refusals and no plain byte out.

Each attack makes one kind of change by chance, with what an attacker may have at hand: the older
release of the model, another pack of the same publisher, one of another publisher, all for the
same keys. No change is tried twice, and one that leaves a genuine pack is no attack. The seed names
it in a failure.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from security.errors import PackError
from security.keks.local import LocalKek
from security.pack_folder import PackTrust
from security.sealed import HEADER_BYTES, SEGMENT_BYTES
from security.sealing import Seal
from security.secret import SecretBytes
from security.weights import open_pack, verify_pack
from tests import pack_fakes
from tests.pack_fakes import (
    EDGES,
    MODEL_ID,
    OTHER_PUBLISHER,
    OWN_NAMES,
    PUBLISHER,
    VERSION,
    content_of,
    seal_small,
)

N_ATTACKS = 10_000
SEED = 20_261_123
FILES = {
    **pack_fakes.FILES,
    "model.bin": pack_fakes.FILES["model.bin"] + bytes(range(256)) * 4096,
    "merges.txt": pack_fakes.FILES["vocabulary.json"][::-1],
}
"""Two small ones of one length, and two segments of one length amid the large one."""
SEALED_NAMES = ("f000.seg", "f001.seg", "f002.seg", "f003.seg", "f004.seg")
LARGE = SEALED_NAMES[sorted(FILES).index("model.bin")]
SMALL_ALIKE = ("f002.seg", "f004.seg")
NAMES = (*SEALED_NAMES, *OWN_NAMES)
KEKS = [LocalKek(SecretBytes(bytearray(byte * 32))) for byte in (b"a", b"b")]
TRUST = PackTrust(KEKS[:1], [PUBLISHER.public_key()], {MODEL_ID: VERSION})
SIGNED_AS = b"earwitness-pack/2|manifest\n"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, section 5.1


@dataclass(frozen=True)
class NoFile:
    """What takes a file's place and is no file of its own."""

    kind: str
    target: str = ""

    def make(self, path: Path) -> None:
        match self.kind:
            case "symlink":
                path.symlink_to(path.parent.parent / self.target / path.name)
            case "hard link":
                path.hardlink_to(path.parent.parent / self.target)
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)


Content = bytes | NoFile | None
"""What becomes of a file; None if it goes."""
Change = dict[str, Content]


@dataclass(frozen=True)
class Packs:
    """The files of each pack, by name."""

    target: dict[str, bytes]
    older: dict[str, bytes]
    sibling: dict[str, bytes]
    foreign: dict[str, bytes]

    @property
    def others(self):
        return [self.older, self.sibling, self.foreign]


def segments(content):
    return [
        content[start : start + SEGMENT_BYTES] for start in range(0, len(content), SEGMENT_BYTES)
    ]


def place_in(chance, content):
    edges = [at for at in (*EDGES, 1, HEADER_BYTES, len(content) - 1) if 0 <= at < len(content)]
    return chance.choice([chance.choice(edges), chance.randrange(len(content))])


def a_bit_is_turned(chance, packs):
    name = chance.choice(NAMES)
    content = bytearray(packs.target[name])
    content[place_in(chance, content)] ^= 1 << chance.randrange(8)
    return {name: bytes(content)}


def bytes_are_left_out(chance, packs):
    name = chance.choice(NAMES)
    content = packs.target[name]
    at = place_in(chance, content)
    n_bytes = chance.choice([1, 16, HEADER_BYTES, SEGMENT_BYTES, len(content)])
    return {name: content[:at] + content[at + n_bytes :]}


def bytes_are_put_in(chance, packs):
    name = chance.choice(NAMES)
    content = packs.target[name]
    at = chance.choice([place_in(chance, content), len(content)])
    return {name: content[:at] + chance.randbytes(chance.randrange(1, 64)) + content[at:]}


def segments_change_places_or_go_or_come_twice(chance, packs):
    parts = segments(packs.target[LARGE])
    amid = [parts[0], *chance.choices(parts[1:-1], k=len(parts) - 2), parts[-1]]
    return {LARGE: b"".join(chance.choice([amid, chance.choices(parts, k=chance.randrange(1, 6))]))}


def a_segment_comes_from_another_pack(chance, packs):
    alike = [segments(pack[LARGE]) for pack in (packs.target, *packs.others)]
    return {LARGE: b"".join(chance.choice(parts) for parts in zip(*alike, strict=True))}


def a_header_is_edited(chance, packs):
    name = chance.choice(SEALED_NAMES)
    start, content = chance.randrange(HEADER_BYTES), packs.target[name]
    end = chance.randrange(start, HEADER_BYTES) + 1
    put = chance.choice([chance.randbytes(end - start), chance.choice(packs.others)[name]])
    return {name: content[:start] + put[: end - start] + content[end:]}


def files_change_places_or_come_twice(chance, packs):
    names = chance.choice([SEALED_NAMES, SMALL_ALIKE])
    given = chance.choices(names, k=len(names))
    return {name: packs.target[of] for name, of in zip(names, given, strict=True)}


def files_are_dropped(chance, packs):
    return dict.fromkeys(chance.sample(NAMES, chance.randrange(1, 4)))


def a_file_is_added(chance, packs):
    name = chance.choice(["f005.seg", "f03.seg", "manifest.json.old", ".x", "model.bin", "F"])
    kept = packs.target[chance.choice(NAMES)]
    return {name: chance.choice([b"", kept, NoFile("folder"), NoFile("symlink", "kept")])}


def files_come_from_other_packs(chance, packs):
    names = chance.sample(NAMES, chance.randrange(1, 8))
    return {name: chance.choice(packs.others)[name] for name in names}


def another_signed_pack_takes_the_place(chance, packs):
    """Whole, or with some files of this one."""
    other = chance.choice(packs.others)
    names = {"manifest.json", "manifest.sig", *chance.sample(NAMES, chance.randrange(8))}
    return {name: other[name] for name in names}


def a_plain_file_takes_its_place(chance, packs):
    plain = FILES[chance.choice(sorted(FILES))]
    name = chance.choice(SEALED_NAMES)
    sealed_bytes = len(packs.target[name])
    start = chance.choice([0, HEADER_BYTES])
    content = packs.target[name][:start] + plain
    return {name: chance.choice([content, content[:sealed_bytes].ljust(sealed_bytes, b"\0")])}


def fields_of(value, path=()):
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from fields_of(value[key], (*path, key))
    yield path


def other_value(chance, value):
    match value:
        case int():
            near = [value + 1, value - 1, -value, value + SEGMENT_BYTES, chance.randrange(1 << 20)]
            return chance.choice([*near, 0, 1 << 63, 1 << 70, float(value), str(value), None])
        case str():
            at = chance.randrange(len(value))
            edited = value[:at] + chance.choice("aB0+/=.-\0\u00e9") + value[at + 1 :]
            moved = value[at:] + value[:at]
            return chance.choice([edited, edited, value[:at], moved, None, [value]])
        case list():
            mixed = chance.choices(value, k=chance.randrange(20))
            return chance.choice([mixed, value[1:], value + value[:1], value[::-1], None, {}])
        case dict():
            dropped = {key: value[key] for key in chance.sample(list(value), len(value) - 1)}
            return chance.choice([dropped, {**value, "more": 1}, None, []])


def edited_json(chance, content):
    """The same text with one value changed, spelt as it was."""
    whole = [json.loads(content)]
    path = chance.choice([(0, *path) for path in fields_of(whole[0])])
    parent = whole
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = other_value(chance, parent[path[-1]])
    return spelt(whole[0])


def spelt(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def the_manifest_is_edited(chance, packs):
    edited = edited_json(chance, packs.target["manifest.json"])
    signatures = [packs.target["manifest.sig"], OTHER_PUBLISHER.sign(SIGNED_AS + edited)]
    return {"manifest.json": edited, "manifest.sig": chance.choice(signatures)}


def the_signature_is_another(chance, packs):
    manifest, signature = packs.target["manifest.json"], packs.target["manifest.sig"]
    scalar = int.from_bytes(signature[32:], "little")
    candidates = [
        chance.choice(packs.others)["manifest.sig"],
        OTHER_PUBLISHER.sign(SIGNED_AS + manifest),
        PUBLISHER.sign(manifest),
        PUBLISHER.sign(SIGNED_AS + chance.randbytes(chance.randrange(40))),
        signature[:32] + (scalar + GROUP_ORDER).to_bytes(32, "little"),
        signature[:32] + chance.randbytes(32),
        chance.randbytes(32) + signature[32:],
        bytes(chance.randrange(1, 65)),
        bytes([1]) + bytes(63),
    ]
    return {"manifest.sig": chance.choice(candidates)}


def json_is_spelt_otherwise(chance, packs):
    name = chance.choice(["manifest.json", "keyslots.json"])
    content = packs.target[name]
    at = chance.choice([n for n, byte in enumerate(content) if byte in b'{}[],:"'])
    moved = shuffled_keys(chance, json.loads(content))
    core = chance.choice([b'{"core":1,', b'{"core":{},', b'{"x":1,'])
    spellings = [
        content[:at] + chance.choice([b" ", b"\n", b"\t", b"\r", b"\0", b","]) + content[at:],
        json.dumps(moved, indent=chance.choice([None, 1, "\t"])).encode(),
        json.dumps(moved, separators=(",", ":")).encode() + b"\n",
        content.rstrip(b"\n"),
        b"\xef\xbb\xbf" + content,
        content.decode().encode("utf-16"),
        content.replace(b'"core"', b'"\\u0063ore"'),
        content.replace(b"{", core, 1),
    ]
    return {name: chance.choice(spellings)}


def shuffled_keys(chance, value):
    match value:
        case dict():
            keys = chance.sample(list(value), len(value))
            return {key: shuffled_keys(chance, value[key]) for key in keys}
        case list():
            return [shuffled_keys(chance, each) for each in value]
    return value


def a_slot_is_edited(chance, packs):
    return {"keyslots.json": edited_json(chance, packs.target["keyslots.json"])}


def slots_are_dropped_doubled_moved_or_mixed(chance, packs):
    whole = json.loads(packs.target["keyslots.json"])
    given = [json.loads(p["keyslots.json"]) for p in (packs.target, *packs.others)]
    every = [slot for each in given for slot in each["core"]["slots"]]
    slots = chance.choices(every, k=chance.randrange(5))
    if chance.random() < 0.3:  # one's key under the name of another's
        slots = [{**slot, "kek": chance.choice(KEKS).kek_id} for slot in slots]
    whole["core"]["slots"] = slots
    whole["slots_mac"] = chance.choice(given)["slots_mac"]
    return {"keyslots.json": spelt(whole)}


def something_else_takes_a_files_place(chance, packs):
    name, other = chance.sample(NAMES, 2)
    alike = f"{chance.choice(['older', 'sibling', 'foreign'])}/{name}"
    things = [NoFile("hard link", alike), NoFile("hard link", f"kept/{other}")]
    things += [NoFile("symlink", "kept"), NoFile("symlink", "nowhere")]
    return {name: chance.choice([*things, NoFile("folder"), NoFile("pipe")])}


ONE_CHANGE: list[Callable[[random.Random, Packs], Change]] = [
    a_bit_is_turned,
    bytes_are_left_out,
    bytes_are_put_in,
    segments_change_places_or_go_or_come_twice,
    a_segment_comes_from_another_pack,
    a_header_is_edited,
    files_change_places_or_come_twice,
    files_are_dropped,
    a_file_is_added,
    files_come_from_other_packs,
    another_signed_pack_takes_the_place,
    a_plain_file_takes_its_place,
    the_manifest_is_edited,
    the_signature_is_another,
    json_is_spelt_otherwise,
    a_slot_is_edited,
    slots_are_dropped_doubled_moved_or_mixed,
    something_else_takes_a_files_place,
]


def two_changes_at_once(chance, packs):
    one, other = chance.sample(ONE_CHANGE, 2)
    return {**one(chance, packs), **other(chance, packs)}


ATTACKS = [*ONE_CHANGE, two_changes_at_once, two_changes_at_once]


class Watched:
    """A destination that knows what it may be given, and whose memory can be looked at."""

    def __init__(self, plain: bytes) -> None:
        self.memory = bytearray(len(plain))
        self.faults: list[str] = []
        self._genuine = (plain, plain[::-1])
        self._delivered: list[tuple[int, int]] = []

    @property
    def is_zero(self) -> bool:
        return self.memory.count(0) == len(self.memory)

    def buffer(self, start: int, end: int) -> memoryview:
        return memoryview(self.memory)[start:end]

    def deliver(self, start: int, end: int) -> None:
        self._delivered.append((start, end))
        if self.memory[start:end] not in [plain[start:end] for plain in self._genuine]:
            self.faults.append("delivered what was not sealed")

    def wipe(self) -> None:
        for start, end in self._delivered:
            self.memory[start:end] = bytes(end - start)
        if not self.is_zero:
            self.faults.append("left plain bytes where a segment failed")
        self.memory[:] = bytes(len(self.memory))


class Laboratory:
    """A pack that is changed, tried and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own, foreign = Seal(KEKS, PUBLISHER), Seal(KEKS, OTHER_PUBLISHER)
        other = {name: content[::-1] for name, content in FILES.items()}
        self.pack_dir = seal_small(folder / "pack", FILES, seal=own)
        made = [
            seal_small(folder / "older", FILES, version=VERSION - 1, seal=own),
            seal_small(folder / "sibling", other, seal=own),
            seal_small(folder / "foreign", FILES, seal=foreign),
        ]
        shutil.copytree(self.pack_dir, folder / "kept")
        self.packs = Packs(*map(content_of, (self.pack_dir, *made)))

    def is_attack(self, change: Change) -> bool:
        """False if, by chance, nothing is changed or a genuine pack takes the place whole."""
        return {**self.packs.target, **change} not in (self.packs.target, self.packs.sibling)

    def try_change(self, change: Change) -> list[str]:
        """What is wrong with how the changed pack was received."""
        for name, content in change.items():
            self._put(name, content)
        try:
            return self._faults()
        finally:
            for name in change:
                self._put(name, self.packs.target.get(name))

    def _put(self, name: str, content: Content) -> None:
        path = self.pack_dir / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        if isinstance(content, NoFile):
            content.make(path)
        elif content is not None:
            path.write_bytes(content)

    def _faults(self) -> list[str]:
        watched: list[Watched] = []

        def place(plain: bytes) -> Callable[[int], Watched]:
            return lambda n_bytes: watched.append(Watched(plain)) or watched[-1]

        try:
            places = {name: place(plain) for name, plain in FILES.items()}
            open_pack(self.pack_dir, TRUST, prepare=lambda card: places)
        except PackError as error:
            faults = [] if str(error) == PackError.TEXT else ["said another text"]
        except Exception as error:  # noqa: BLE001 (whatever it is, the seed is to be told)
            faults = [f"raised {error!r}"]
        else:
            faults = ["opened"]
        faults += [fault for each in watched for fault in each.faults]
        return faults + ["left plain bytes" for each in watched if not each.is_zero]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    return Laboratory(tmp_path_factory.mktemp("attacks"))


def test_the_packs_of_the_same_publisher_open_while_nothing_is_changed(laboratory):
    verify_pack(laboratory.folder / "pack", TRUST)
    verify_pack(laboratory.folder / "sibling", TRUST)
    verify_pack(laboratory.folder / "older", replace(TRUST, accepted_versions={}))


def test_each_of_ten_thousand_changed_packs_is_refused(laboratory):
    faults, tried, seed = [], set(), SEED
    while len(tried) < N_ATTACKS and len(faults) < 10:
        seed += 1
        attack = ATTACKS[seed % len(ATTACKS)]
        change = attack(random.Random(seed), laboratory.packs)  # noqa: S311 (to be repeated)
        mark = frozenset((name, hash(content)) for name, content in change.items())
        if mark in tried or not laboratory.is_attack(change):
            continue
        tried.add(mark)
        if found := laboratory.try_change(change):
            faults.append(f"{attack.__name__}, number {len(tried)}, seed {seed}: {found}")
    assert faults == []
    verify_pack(laboratory.pack_dir, TRUST)
