"""Segments from several threads in; one tensor, or zeros, out."""

import os
import threading

import pytest

torch = pytest.importorskip("torch")

from security.errors import PackError  # noqa: E402
from security.weights import open_pack  # noqa: E402
from server.config import load_settings  # noqa: E402
from server.engines.device_memory import DeviceMemory  # noqa: E402
from server.packs import make_pack_keys, pack_trust  # noqa: E402
from server.provision import seal  # noqa: E402

CONTENT = os.urandom((1 << 20) * 11 + 12345)
CPU = torch.device("cpu")


@pytest.fixture
def settings(tmp_path):
    made = load_settings(data_folder=tmp_path / "data", model="m")
    make_pack_keys(made)
    files = {"model.safetensors": CONTENT, "config.json": b"{}"}
    seal(made, engine="transformers", version=1, files=files)
    return made


def opened_on(device, settings):
    places = []

    def place(n_bytes):
        places.append(DeviceMemory(n_bytes, device))
        return places[-1]

    try:
        pack = open_pack(
            settings.pack_folder,
            pack_trust(settings),
            prepare=lambda card: {"model.safetensors": place},
        )
    except PackError:
        return None, places[0].tensor
    return pack, places[0].finish()


def test_a_pack_opens_into_it(settings):
    pack, tensor = opened_on(CPU, settings)
    assert tensor.numpy().tobytes() == CONTENT
    assert list(pack.files) == ["config.json"]
    pack.wipe()


def test_a_pack_that_fails_leaves_zeros(settings):
    path = settings.pack_folder / "f001.seg"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    pack, tensor = opened_on(CPU, settings)
    assert pack is None
    assert not tensor.any()


def test_threads_do_not_share_buffers():
    memory, seen, ready = DeviceMemory(4, CPU), [], threading.Barrier(2)

    def fill(start):
        view = memory.buffer(start, start + 2)
        view[:] = bytes([start + 1, start + 2])
        ready.wait()
        seen.append(view)
        memory.deliver(start, start + 2)

    threads = [threading.Thread(target=fill, args=(start,)) for start in (0, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.finish().tolist() == [1, 2, 3, 4]
    assert not any(any(view) for view in seen)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_pack_opens_into_a_gpu(settings):
    pack, tensor = opened_on(torch.device("cuda"), settings)
    assert tensor.cpu().numpy().tobytes() == CONTENT
    pack.wipe()
