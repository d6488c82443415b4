"""Packs whole and damaged in; model files in memory, or where they are wanted, or zeros, out."""

import itertools
import os
from contextlib import suppress
from threading import Barrier, Event, get_ident
from time import sleep

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security.errors import KekError, PackError, PackReason
from security.manifest import fingerprint
from security.sealed import SEGMENT_BYTES
from security.weights import hashed_pack, inspect_pack, open_pack, verify_pack
from tests.pack_fakes import (
    EDGES,
    ENGINE,
    FILES,
    MODEL_ID,
    OTHER_PUBLISHER,
    OWN_NAMES,
    PUBLISHER,
    SEALED_NAMES,
    VERSION,
    FakeKek,
    FakePlace,
    content_of,
    copied,
    reason_of,
    seal_small,
    trust_of,
    turn_bit,
)

ALL = (*SEALED_NAMES, *OWN_NAMES)
SIZES = {name: len(content) for name, content in FILES.items()}
N_THREADS = min(4, os.cpu_count() or 1)
SHARED = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def sealed_once(tmp_path_factory):
    """A pack that tests change and put back."""
    return seal_small(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture
def pack_dir(sealed_once, tmp_path):
    """A pack of the test's own."""
    return copied(sealed_once, tmp_path / "pack")


def refused(pack_dir, trust=None, open_it=open_pack):
    with pytest.raises(PackError) as caught:
        open_it(pack_dir, trust or trust_of())
    return reason_of(caught.value)


def places_for(**hurdles):
    """A place for every file, and how to have it made."""
    made = {name: FakePlace(plain, **hurdles) for name, plain in FILES.items()}

    def maker(name):
        def make(n_bytes):
            assert n_bytes == SIZES[name]
            return made[name]

        return make

    return made, {name: maker(name) for name in made}


def test_what_was_sealed_opens(sealed_once):
    with open_pack(sealed_once, trust_of()) as pack:
        assert {name: bytes(view) for name, view in pack.files.items()} == FILES


def test_an_opened_pack_says_what_it_is_who_signed_it_and_which_key_opened_it(sealed_once):
    with open_pack(sealed_once, trust_of("fake:b", "fake:a")) as pack:
        card = pack.card
    assert (card.model_id, card.engine, card.version) == (MODEL_ID, ENGINE, VERSION)
    assert card.publisher == fingerprint(PUBLISHER.public_key())
    assert card.kek_id == "fake:a"
    assert card.sizes == SIZES


def test_a_pack_can_be_inspected_and_verified_without_keeping_it(sealed_once):
    with open_pack(sealed_once, trust_of()) as pack:
        assert inspect_pack(sealed_once, trust_of()) == pack.card
        assert verify_pack(sealed_once, trust_of()) == pack.card


def test_inspecting_reads_no_weight(pack_dir):
    turn_bit(pack_dir / "f002.seg")
    assert inspect_pack(pack_dir, trust_of()).version == VERSION
    assert refused(pack_dir, open_it=verify_pack) is PackReason.BAD_SEGMENT


def test_a_mirror_can_check_a_pack_that_it_cannot_open(sealed_once):
    sealed_bytes = sum((sealed_once / name).stat().st_size for name in SEALED_NAMES)
    assert hashed_pack(sealed_once, trust_of("fake:stranger")) == sealed_bytes


@pytest.mark.parametrize("name", SEALED_NAMES)
def test_a_mirror_sees_a_damaged_file(pack_dir, name):
    turn_bit(pack_dir / name)
    assert refused(pack_dir, open_it=hashed_pack) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("open_it", [open_pack, verify_pack, inspect_pack, hashed_pack])
def test_a_stranger_s_pack_is_refused_by_all(sealed_once, open_it):
    trust = trust_of(publishers=[OTHER_PUBLISHER])
    assert refused(sealed_once, trust, open_it) is PackReason.BAD_SIGNATURE


@pytest.mark.parametrize("open_it", [open_pack, verify_pack, inspect_pack, hashed_pack])
def test_an_older_version_is_refused_by_all(sealed_once, open_it):
    trust = trust_of(accepted={MODEL_ID: VERSION + 1})
    assert refused(sealed_once, trust, open_it) is PackReason.OLDER_VERSION


@pytest.mark.parametrize("open_it", [open_pack, verify_pack, inspect_pack])
def test_a_key_that_cannot_be_asked_is_told_by_all_that_need_it(sealed_once, open_it):
    with pytest.raises(KekError):
        open_it(sealed_once, trust_of(FakeKek("fake:a", is_reachable=False)))


def test_a_key_that_does_not_fit_is_refused(sealed_once):
    assert refused(sealed_once, trust_of("fake:b")) is PackReason.NO_SLOT


def test_the_opened_files_cannot_be_written(sealed_once):
    with open_pack(sealed_once, trust_of()) as pack, pytest.raises(TypeError):
        pack.files["model.bin"][0] = 0


def test_an_opened_pack_shows_its_type_only(sealed_once):
    with open_pack(sealed_once, trust_of()) as pack:
        assert repr(pack) == "OpenedPack(…)"


def test_wiping_ends_the_views(sealed_once):
    pack = open_pack(sealed_once, trust_of())
    view = pack.files["model.bin"]
    pack.wipe()
    pack.wipe()
    assert pack.files == {}
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_an_array_that_outlives_the_pack_holds_zeros(sealed_once):
    pack = open_pack(sealed_once, trust_of())
    array = np.frombuffer(pack.files["model.bin"], np.uint8)
    assert array.any()
    pack.wipe()
    assert not array.any()


def test_opening_writes_nothing(pack_dir):
    before = {path: path.stat().st_mtime_ns for path in pack_dir.parent.rglob("*")}
    open_pack(pack_dir, trust_of()).wipe()
    assert {path: path.stat().st_mtime_ns for path in pack_dir.parent.rglob("*")} == before


@pytest.mark.parametrize("open_it", [open_pack, verify_pack])
def test_progress_grows_and_ends_at_the_whole(sealed_once, open_it):
    steps = []
    open_it(sealed_once, trust_of(), lambda done, total: steps.append((done, total)))
    whole = sum(SIZES.values())
    assert steps == sorted(steps)
    assert {total for _, total in steps} == {whole}
    assert len(steps) == 6
    assert steps[-1] == (whole, whole)


def test_files_go_where_the_caller_wants_them_and_are_no_longer_the_pack_s(sealed_once):
    made, places = places_for()
    with open_pack(sealed_once, trust_of(), prepare=lambda card: places) as pack:
        assert pack.files == {}
        assert pack.card.sizes == SIZES
    assert {name: bytes(place.content) for name, place in made.items()} == FILES


def test_files_that_nobody_wants_elsewhere_stay_in_the_pack(sealed_once):
    made, places = places_for()
    only = {"model.bin": places["model.bin"]}
    with open_pack(sealed_once, trust_of(), prepare=lambda card: only) as pack:
        assert set(pack.files) == set(FILES) - {"model.bin"}
    assert bytes(made["model.bin"].content) == FILES["model.bin"]
    assert "wipe" not in made["model.bin"].events


def test_a_place_for_a_file_that_is_not_there_is_never_made(sealed_once):
    with open_pack(
        sealed_once, trust_of(), prepare=lambda card: {"other.bin": pytest.fail}
    ) as pack:
        assert set(pack.files) == set(FILES)


def test_every_segment_gets_its_buffer_before_it_is_delivered_once(sealed_once):
    made, places = places_for()
    open_pack(sealed_once, trust_of(), prepare=lambda card: places).wipe()
    for name, place in made.items():
        buffers, delivered = (
            [event[1:] for event in place.events if event[0] == kind]
            for kind in ("buffer", "deliver")
        )
        assert sorted(buffers) == sorted(delivered)
        assert min(buffers)[0] == 0
        assert max(buffers)[1] == SIZES[name]
        assert all(
            place.events.index(("buffer", *part)) < place.events.index(("deliver", *part))
            for part in buffers
        )


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_a_segment_that_fails_is_never_delivered_and_all_is_forgotten(pack_dir, segment):
    turn_bit(pack_dir / "f002.seg", segment * SEGMENT_BYTES + 100)
    made, places = places_for()
    with pytest.raises(PackError):
        open_pack(pack_dir, trust_of(), prepare=lambda card: places)
    starts = [event[1] for event in made["model.bin"].events if event[0] == "deliver"]
    assert [0, SEGMENT_BYTES - 56, 2 * SEGMENT_BYTES - 72][segment] not in starts
    for place in made.values():
        assert place.events[-1] == "wipe"
        assert place.events.count("wipe") == 1
        assert not any(place.content)


def test_a_place_that_fails_stops_the_opening(sealed_once):
    def hurdle(start):
        raise MemoryError("the device is full")

    made, places = places_for(hurdle=hurdle)
    with pytest.raises(MemoryError, match="device"):
        open_pack(sealed_once, trust_of(), prepare=lambda card: places)
    assert all(place.events == ["wipe"] for place in made.values())


def test_a_place_that_cannot_be_made_gives_back_those_that_were(sealed_once):
    made, places = places_for()

    def full(n_bytes):
        raise MemoryError("the device is full")

    with pytest.raises(MemoryError, match="device"):
        open_pack(sealed_once, trust_of(), prepare=lambda card: {**places, "model.bin": full})
    assert made["config.json"].events == ["wipe"]
    assert made["empty.txt"].events == ["wipe"]
    assert made["vocabulary.json"].events == []


def test_whoever_watches_can_stop_the_opening(sealed_once):
    def on_progress(done, total):
        raise KeyError(done)

    made, places = places_for()
    with pytest.raises(KeyError):
        open_pack(sealed_once, trust_of(), on_progress, lambda card: places)
    assert all(place.events[-1] == "wipe" for place in made.values())


def test_after_a_failure_no_thread_goes_on(tmp_path):
    files = {"a": b"a", "b": b"b", "model.bin": bytes(20 * SEGMENT_BYTES)}
    pack_dir = seal_small(tmp_path / "pack", files)
    has_failed = Event()

    def fail(start):
        has_failed.set()
        raise MemoryError("the device is full")

    # between two segments there is time to hear of the failure
    hurdles = {
        "a": lambda start: has_failed.wait(5),
        "b": fail,
        "model.bin": lambda start: sleep(0.01),
    }
    made = {name: FakePlace(files[name], hurdle) for name, hurdle in hurdles.items()}
    places = {name: lambda n_bytes, place=place: place for name, place in made.items()}
    with pytest.raises(MemoryError, match="device"):
        open_pack(pack_dir, trust_of(), prepare=lambda card: places)
    assert len(made["model.bin"].events) < 20


def test_there_is_a_thread_for_each_core(tmp_path):
    plain = bytes(8 * SEGMENT_BYTES)
    pack_dir = seal_small(tmp_path / "pack", {"model.bin": plain})
    all_are_there, threads = Barrier(N_THREADS), set()

    def hurdle(start):
        if get_ident() not in threads:
            threads.add(get_ident())
            all_are_there.wait(60)

    place = FakePlace(plain, hurdle)
    open_pack(
        pack_dir, trust_of(), prepare=lambda card: {"model.bin": lambda n_bytes: place}
    ).wipe()
    assert len(threads) == N_THREADS


def frames_of(trace):
    while trace:
        yield trace.tb_frame
        trace = trace.tb_next


def test_a_pack_that_fails_late_gives_back_the_memory_of_what_was_opened(pack_dir):
    turn_bit(pack_dir / "f003.seg")
    with pytest.raises(PackError) as caught:
        open_pack(pack_dir, trust_of())
    (memory,) = (
        frame.f_locals["memory"] for frame in frames_of(caught.tb) if "memory" in frame.f_locals
    )
    assert set(memory) == set(FILES)
    for part in memory.values():
        with pytest.raises(ValueError, match="released"):
            part.view[0]


def test_a_file_that_shrinks_while_it_is_opened_is_refused(pack_dir):
    def hurdle(start):
        with suppress(FileNotFoundError):
            os.truncate(pack_dir / "f002.seg", 100)

    _, places = places_for(hurdle=hurdle)
    trust = trust_of()
    with pytest.raises(PackError) as caught:
        open_pack(pack_dir, trust, prepare=lambda card: places)
    assert reason_of(caught.value) is PackReason.WRONG_SIZE


@SHARED
@given(data=st.data())
def test_any_turned_bit_is_refused(sealed_once, data):
    path = sealed_once / data.draw(st.sampled_from(ALL))
    whole = path.read_bytes()
    near = st.sampled_from([edge for edge in EDGES if 0 <= edge < len(whole)])
    position = data.draw(near | st.integers(0, len(whole) - 1))
    turn_bit(path, position, data.draw(st.integers(0, 7)))
    try:
        refused(sealed_once)
    finally:
        path.write_bytes(whole)


@SHARED
@given(data=st.data())
def test_a_file_cut_or_grown_is_refused(sealed_once, data):
    path = sealed_once / data.draw(st.sampled_from(ALL))
    whole = path.read_bytes()
    near = st.sampled_from([edge for edge in EDGES if 0 <= edge < len(whole)])
    cut = whole[: data.draw(near | st.integers(0, len(whole) - 1))]
    grown = whole + data.draw(st.binary(min_size=1, max_size=64))
    path.write_bytes(data.draw(st.sampled_from([cut, grown])))
    try:
        refused(sealed_once)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("order", list(itertools.permutations(SEALED_NAMES))[1:])
def test_files_of_one_size_that_changed_places_are_refused(tmp_path, order):
    pack = seal_small(tmp_path / "pack", {name: name.encode() * 20 for name in "abcd"})
    contents = [(pack / name).read_bytes() for name in order]
    for name, content in zip(SEALED_NAMES, contents, strict=True):
        (pack / name).write_bytes(content)
    assert refused(pack) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("swapped", [0, 1])
def test_segments_that_changed_places_are_refused(pack_dir, swapped):
    path = pack_dir / "f002.seg"
    whole = path.read_bytes()
    parts = [whole[start : start + SEGMENT_BYTES] for start in range(0, len(whole), SEGMENT_BYTES)]
    parts[swapped] = parts[1 - swapped]
    path.write_bytes(b"".join(parts))
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_another_pack_of_the_same_model_is_refused(pack_dir, tmp_path, name):
    other = seal_small(tmp_path / "other")
    (pack_dir / name).write_bytes((other / name).read_bytes())
    refused(pack_dir)


def test_the_files_of_another_pack_under_this_manifest_are_refused(pack_dir, tmp_path):
    other = seal_small(tmp_path / "other")
    for name in SEALED_NAMES:
        (pack_dir / name).write_bytes((other / name).read_bytes())
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("name", SEALED_NAMES)
def test_a_plain_file_in_place_of_a_sealed_one_is_refused(pack_dir, name):
    n_bytes = (pack_dir / name).stat().st_size
    (pack_dir / name).write_bytes(FILES["model.bin"][:n_bytes].ljust(n_bytes, b"\0"))
    refused(pack_dir)


@pytest.mark.parametrize("n_files", [1, 256])
def test_a_pack_of_empty_files_opens(tmp_path, n_files):
    files = {f"f{number}": b"" for number in range(n_files)}
    with open_pack(seal_small(tmp_path / "pack", files), trust_of()) as pack:
        assert {name: bytes(view) for name, view in pack.files.items()} == files


@pytest.mark.parametrize("name", ["f000.seg", "f001.seg"])
def test_an_empty_file_proves_that_it_is_empty(tmp_path, name):
    pack_dir = seal_small(tmp_path / "pack", {"a": b"", "b": b""})
    assert len(content_of(pack_dir)[name]) == 56
    turn_bit(pack_dir / name)
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


def test_a_fault_of_whoever_watches_the_progress_is_not_a_fault_of_the_pack(sealed_once):
    def on_progress(done, total):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        open_pack(sealed_once, trust_of(), on_progress)
