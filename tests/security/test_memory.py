"""Lengths in; memory that belongs to no file, and holds zeros when it was wiped, out."""

import mmap
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from security.memory import Nowhere, PrivateMemory
from security.sealed import SEGMENT_BYTES

HUGE_PAGE_BYTES = 2 << 20


@pytest.mark.parametrize("n_bytes", [0, 1, 4096, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES + 1])
def test_new_memory_is_as_long_as_asked_and_zero(n_bytes):
    memory = PrivateMemory(n_bytes)
    assert len(memory.view) == n_bytes
    assert not any(memory.view[-10:])
    memory.wipe()


def test_a_buffer_is_a_place_in_the_memory():
    memory = PrivateMemory(10)
    memory.buffer(2, 5)[:] = b"abc"
    memory.deliver(2, 5)
    assert bytes(memory.view) == b"\0\0abc\0\0\0\0\0"
    memory.wipe()


def test_wiped_memory_cannot_be_read():
    memory = PrivateMemory(10)
    memory.wipe()
    with pytest.raises(ValueError, match="released"):
        memory.view[0]


def test_an_array_that_outlives_the_memory_holds_zeros():
    memory = PrivateMemory(HUGE_PAGE_BYTES)
    memory.view[:3] = b"abc"
    array = np.frombuffer(memory.view, np.uint8)
    memory.wipe()
    assert not array.any()


def test_there_is_no_room_for_more_than_the_machine_has():
    with pytest.raises(MemoryError, match="no room"):
        PrivateMemory(1 << 62)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what it knows of memory")
def test_the_memory_goes_to_no_file_no_core_dump_and_no_child():
    memory = PrivateMemory(2 * HUGE_PAGE_BYTES)
    flags = flags_at(np.frombuffer(memory.view, np.uint8).ctypes.data)
    assert {"dd", "dc"} <= flags  # do not dump, do not copy on fork
    memory.wipe()


def flags_at(address):
    """What the kernel notes of the mapping that holds `address`, which has no path."""
    is_inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            is_inside = start <= address < end
            assert not (is_inside and rest[3] != "0")  # the number of a file
        if is_inside and first == "VmFlags:":
            return set(rest)
    raise AssertionError(address)


def test_a_kernel_without_huge_pages_gives_small_ones(monkeypatch):
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 12345)
    memory = PrivateMemory(HUGE_PAGE_BYTES)
    assert len(memory.view) == HUGE_PAGE_BYTES
    memory.wipe()


def test_nowhere_takes_any_segment_and_forgets_it():
    nowhere = Nowhere()
    buffer = nowhere.buffer(5 * SEGMENT_BYTES, 6 * SEGMENT_BYTES)
    buffer[:3] = b"abc"
    nowhere.deliver(5 * SEGMENT_BYTES, 6 * SEGMENT_BYTES)
    assert len(buffer) == SEGMENT_BYTES
    assert not any(buffer[:3])
    nowhere.wipe()


def test_nowhere_has_a_place_for_each_thread():
    nowhere, both_are_there = Nowhere(), Barrier(2)

    def write(letter):
        buffer = nowhere.buffer(0, 3)
        both_are_there.wait()
        buffer[:] = letter * 3
        both_are_there.wait()
        return bytes(buffer)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, [b"a", b"b"])) == [b"aaa", b"bbb"]
