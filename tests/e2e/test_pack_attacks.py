"""Ten thousand packs, each changed somewhere, in; ten thousand refusals and no plain byte out.

Each attack makes one kind of change by chance, with what an attacker may have at hand: the older
release of the model, another model of the same publisher, one of another publisher, all for the
same keys. The seed and the number of the attack name it in a failure.
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
from security.sealed import HEADER_BYTES, SEGMENT_BYTES
from security.weights import open_pack
from tests.pack_fakes import (
    FILES,
    MODEL_ID,
    OTHER_PUBLISHER,
    OWN_NAMES,
    SEALED_NAMES,
    VERSION,
    seal_of,
    seal_small,
    trust_of,
)

N_ATTACKS = 10_000
SEED = 20_261_123
LARGE = "f002.seg"
KEKS = ("fake:a", "fake:b")
TRUST = trust_of("fake:a", accepted={MODEL_ID: VERSION})

Content = bytes | None | Callable[[Path], None]
"""What becomes of a file: other content, nothing, or something that is no file."""


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


def any_name(chance):
    return chance.choice((*SEALED_NAMES, *OWN_NAMES))


def edges(content):
    near = [n * SEGMENT_BYTES + d for n in range(4) for d in (-17, -16, -1, 0, 1)]
    return [e for e in [*near, 1, HEADER_BYTES, len(content) - 1] if 0 <= e < len(content)]


def place_in(chance, content):
    return (
        chance.choice(edges(content)) if chance.random() < 0.5 else chance.randrange(len(content))
    )


def a_bit_is_turned(chance, packs):
    name = any_name(chance)
    content = bytearray(packs.target[name])
    content[place_in(chance, content)] ^= 1 << chance.randrange(8)
    return {name: bytes(content)}


def a_byte_is_left_out(chance, packs):
    name = any_name(chance)
    content = packs.target[name]
    at = place_in(chance, content)
    return {name: content[:at] + content[at + 1 :]}


def a_file_is_cut(chance, packs):
    name = any_name(chance)
    content = packs.target[name]
    return {name: content[: place_in(chance, content)]}


def a_file_grows(chance, packs):
    name = any_name(chance)
    return {name: packs.target[name] + chance.randbytes(chance.randrange(1, 64))}


def segments_change_places(chance, packs):
    parts = segments(packs.target[LARGE])
    chance.shuffle(parts)
    return {LARGE: b"".join(parts)}


def a_segment_is_dropped(chance, packs):
    parts = segments(packs.target[LARGE])
    del parts[chance.randrange(len(parts))]
    return {LARGE: b"".join(parts)}


def a_segment_is_doubled(chance, packs):
    parts = segments(packs.target[LARGE])
    at = chance.randrange(len(parts))
    parts[chance.randrange(len(parts))] = parts[at]
    return {LARGE: b"".join(parts)}


def a_segment_comes_from_another_pack(chance, packs):
    parts, others = segments(packs.target[LARGE]), segments(chance.choice(packs.others)[LARGE])
    at = chance.randrange(len(parts))
    parts[at] = others[at]
    return {LARGE: b"".join(parts)}


def a_header_is_edited(chance, packs):
    name = chance.choice(SEALED_NAMES)
    content = packs.target[name]
    header = bytearray(content[:HEADER_BYTES])
    start = chance.randrange(HEADER_BYTES)
    header[start:] = chance.randbytes(HEADER_BYTES - start)
    return {name: bytes(header) + content[HEADER_BYTES:]}


def files_change_places(chance, packs):
    one, other = chance.sample(SEALED_NAMES, 2)
    return {one: packs.target[other], other: packs.target[one]}


def a_file_is_dropped(chance, packs):
    return {any_name(chance): None}


def a_file_is_added(chance, packs):
    name = chance.choice(
        ["f004.seg", "f03.seg", "manifest.json.old", ".x", "model.bin", "Manifest"]
    )
    return {name: chance.choice([b"", b"x", packs.target[chance.choice(SEALED_NAMES)]])}


def files_come_from_another_pack(chance, packs):
    other = chance.choice(packs.others)
    names = chance.sample((*SEALED_NAMES, *OWN_NAMES), chance.randrange(1, 7))
    if other is packs.sibling and set(OWN_NAMES) <= set(names):
        names.remove("manifest.sig")
    return {name: other[name] for name in names}


def the_older_release_is_put_back(chance, packs):
    return dict(packs.older)


def another_publishers_pack_is_put_there(chance, packs):
    return dict(packs.foreign)


def a_plain_file_takes_its_place(chance, packs):
    at = chance.randrange(len(SEALED_NAMES))
    plain, sealed = FILES[sorted(FILES)[at]], packs.target[SEALED_NAMES[at]]
    return {SEALED_NAMES[at]: plain[: len(sealed)].ljust(len(sealed), b"\0")}


def fields_of(value, path=()):
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from fields_of(value[key], (*path, key))
    yield path


def other_value(chance, value):
    match value:
        case int():
            return chance.choice([value + 1, value - 1, -value, 0, 1 << 63, 1 << 70, str(value)])
        case str():
            edited = chance.choice([value[1:], value + "A", value.upper(), "", value[::-1]])
            return chance.choice([edited, None, 1, [value]])
        case list():
            return chance.choice([value[1:], value + value[:1], value[::-1], [], None])
        case dict():
            dropped = dict(list(value.items())[1:])
            return chance.choice([dropped, {**value, "more": 1}, None, []])
    return None


def edited_json(chance, content):
    """The same text with one value changed, spelt as it was."""
    whole = json.loads(content)
    path = chance.choice(list(fields_of(whole)))
    if not path:
        whole = other_value(chance, whole)
    else:
        parent = whole
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = other_value(chance, parent[path[-1]])
    return spelt(whole)


def spelt(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def the_manifest_is_edited(chance, packs):
    return {"manifest.json": edited_json(chance, packs.target["manifest.json"])}


def the_manifest_is_edited_and_signed_by_another(chance, packs):
    edited = edited_json(chance, packs.target["manifest.json"])
    signed = OTHER_PUBLISHER.sign(b"earwitness-pack/2|manifest\n" + edited)
    return {"manifest.json": edited, "manifest.sig": signed}


def the_slots_are_edited(chance, packs):
    return {"keyslots.json": edited_json(chance, packs.target["keyslots.json"])}


def json_is_spelt_otherwise(chance, packs):
    name = chance.choice(["manifest.json", "keyslots.json"])
    content = packs.target[name]
    whole = json.loads(content)
    spellings = [
        json.dumps(whole).encode(),
        json.dumps(whole, indent=1).encode(),
        content.rstrip(b"\n"),
        content + b"\n",
        b" " + content,
        b"\xef\xbb\xbf" + content,
        content.replace(b'"core"', b'"\\u0063ore"'),
        content.replace(b"{", b'{"core":1,', 1),
        spelt(dict(reversed(whole.items()))).replace(b",", b", ", chance.randrange(1, 5)),
    ]
    return {name: chance.choice(spellings)}


def slots_are_dropped_doubled_or_moved(chance, packs):
    whole = json.loads(packs.target["keyslots.json"])
    slots = whole["core"]["slots"]
    others = json.loads(chance.choice(packs.others)["keyslots.json"])["core"]["slots"]
    changes = [slots[:1], slots[1:], slots[::-1], slots * 2, slots * 9, slots + others, others, []]
    whole["core"]["slots"] = chance.choice(changes)
    return {"keyslots.json": spelt(whole)}


def something_else_takes_a_files_place(chance, packs):
    def link(path):
        path.symlink_to(path.parent.parent / "kept" / path.name)

    def folder(path):
        path.mkdir()

    def pipe(path):
        os.mkfifo(path)

    return {any_name(chance): chance.choice([link, folder, pipe])}


ATTACKS = [
    a_bit_is_turned,
    a_byte_is_left_out,
    a_file_is_cut,
    a_file_grows,
    segments_change_places,
    a_segment_is_dropped,
    a_segment_is_doubled,
    a_segment_comes_from_another_pack,
    a_header_is_edited,
    files_change_places,
    a_file_is_dropped,
    a_file_is_added,
    files_come_from_another_pack,
    the_older_release_is_put_back,
    another_publishers_pack_is_put_there,
    a_plain_file_takes_its_place,
    the_manifest_is_edited,
    the_manifest_is_edited_and_signed_by_another,
    the_slots_are_edited,
    json_is_spelt_otherwise,
    slots_are_dropped_doubled_or_moved,
    something_else_takes_a_files_place,
]


class Watched:
    """A destination whose memory can be looked at when all is over."""

    def __init__(self, n_bytes: int) -> None:
        self.memory = bytearray(n_bytes)

    def buffer(self, start: int, end: int) -> memoryview:
        return memoryview(self.memory)[start:end]

    def deliver(self, start: int, end: int) -> None:
        pass

    def wipe(self) -> None:
        self.memory[:] = bytes(len(self.memory))


class Laboratory:
    """A pack that is changed, tried and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pack_dir = seal_small(folder / "pack", seal=seal_of(*KEKS))
        other = {name: content[::-1] for name, content in FILES.items()}
        made = [
            seal_small(folder / "older", version=VERSION - 1, seal=seal_of(*KEKS)),
            seal_small(folder / "sibling", other, version=VERSION, seal=seal_of(*KEKS)),
            seal_small(folder / "foreign", seal=seal_of(*KEKS, publisher=OTHER_PUBLISHER)),
        ]
        shutil.copytree(self.pack_dir, folder / "kept")
        self.packs = Packs(*map(self.content_of, (self.pack_dir, *made)))

    @staticmethod
    def content_of(pack_dir: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in pack_dir.iterdir()}

    def try_change(self, change: dict[str, Content]) -> str | None:
        """What is wrong with how the changed pack was received; None if nothing is."""
        for name, content in change.items():
            self._put(name, content)
        try:
            return self._fault()
        finally:
            for name in change:
                self._put(name, self.packs.target.get(name))

    def _put(self, name: str, content: Content) -> None:
        path = self.pack_dir / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            content(path)

    def _fault(self) -> str | None:
        watched: list[Watched] = []

        def place(n_bytes: int) -> Watched:
            watched.append(Watched(n_bytes))
            return watched[-1]

        try:
            open_pack(self.pack_dir, TRUST, places=dict.fromkeys(FILES, place))
        except PackError as error:
            if str(error) != PackError.TEXT:
                return "another text"
            if any(each.memory.count(0) != len(each.memory) for each in watched):
                return "plain bytes left behind"
            return None
        return "opened"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    return Laboratory(tmp_path_factory.mktemp("attacks"))


def test_the_pack_opens_while_nothing_is_changed(laboratory):
    open_pack(laboratory.pack_dir, TRUST).wipe()
    sibling = replace(TRUST, accepted_versions={})
    open_pack(laboratory.folder / "older", sibling).wipe()


def test_each_of_ten_thousand_changed_packs_is_refused(laboratory):
    faults, n_tried, draw = [], 0, 0
    while n_tried < N_ATTACKS:
        draw += 1
        chance = random.Random(SEED + draw)  # noqa: S311 (to be repeated)
        attack = ATTACKS[draw % len(ATTACKS)]
        change = attack(chance, laboratory.packs)
        if all(laboratory.packs.target.get(name) == content for name, content in change.items()):
            continue  # by chance nothing was changed
        n_tried += 1
        if fault := laboratory.try_change(change):
            faults.append(f"{attack.__name__}, seed {SEED + draw}: {fault}")
    assert faults == []
    open_pack(laboratory.pack_dir, TRUST).wipe()
