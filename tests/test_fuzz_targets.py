"""What `make fuzz` runs for hours, on its seeds and a few hundred broken ones: it must not rot."""

import random

import pytest

from bench.fuzz import TARGETS_FOLDER, load_target, target_names

NEEDS_TORCH = {"safetensors_header"}
MUTATIONS = 150


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A few bytes turned, cut out, doubled or put in."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at, count = chance.randint(0, len(data)), chance.randint(1, 8)
        match chance.randrange(4):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + count]
            case 2:
                data[at:at] = data[at : at + count] * chance.randint(1, 3)
            case _:
                data[at:at] = chance.randbytes(count)
    return bytes(data)


@pytest.fixture(params=target_names())
def target(request):
    if request.param in NEEDS_TORCH:
        pytest.importorskip("torch")
    return load_target(request.param)


def test_every_file_in_the_folder_is_a_target():
    files = {path.stem for path in TARGETS_FOLDER.glob("*.py")}
    assert files == set(target_names())
    assert files


def test_a_target_has_seeds_that_fit(target):
    assert target.seeds
    assert all(isinstance(seed, bytes) for seed in target.seeds)
    assert max(map(len, target.seeds)) <= target.max_bytes


def test_seeds_and_what_is_nearly_a_seed_are_no_fault(target):
    chance = random.Random(0)  # noqa: S311 (the same every time)
    for seed in target.seeds:
        target.run(seed)
    for _ in range(MUTATIONS):
        target.run(mutated(chance.choice(target.seeds), chance)[: target.max_bytes])
