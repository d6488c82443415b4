"""Packs of every age and keys of every kind in; an engine, or one refusal on record, out."""

import gc

import numpy as np
import pytest

from security.accepted import read_accepted, write_accepted
from security.audit_store import AuditStore
from server import opening
from server.config import Settings, load_settings
from server.opening import Opening, open_engine
from server.provision import make_keys, seal
from server.recognition import Utterance
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_MODEL, EXIT_SETTINGS, StartError
from tests.e2e.conftest import copy_data
from tests.trail_rows import trail_rows


@pytest.fixture
def settings(embedded_model_pack, tmp_path) -> Settings:
    copy_data(embedded_model_pack, tmp_path / "data")
    return load_settings(data_folder=tmp_path / "data")


@pytest.fixture
async def store(settings):
    async with await AuditStore.open(settings.trail, iter(range(100)).__next__) as opened:
        yield opened


async def events(settings):
    _began, *others = await trail_rows(settings.trail)
    return [(record.event, record.reason) for record in others]


async def refusal(settings, store):
    with pytest.raises(StartError) as caught:
        await open_engine(settings, store, Opening())
    return caught.value


async def test_an_opened_model_is_on_record_with_its_key_and_publisher(settings, store):
    engine = await open_engine(settings, store, Opening())
    assert engine.card.model_id == "tiny.en"
    [_began, record] = await trail_rows(settings.trail)
    assert record.event == "model.opened"
    assert record.detail["kek"].startswith("local:")
    assert len(record.detail["publisher"]) == 16
    assert read_accepted(settings.accepted_file) == {"tiny.en": 1}


async def test_an_older_model_than_one_opened_before_is_refused_and_on_record(settings, store):
    write_accepted(settings.accepted_file, "tiny.en", 2)
    assert (await refusal(settings, store)).exit_code == EXIT_MODEL
    assert await events(settings) == [("model.refused", "older_version")]


async def test_an_administrator_can_allow_an_older_model_which_is_on_record(settings, store):
    write_accepted(settings.accepted_file, "tiny.en", 2)
    await open_engine(settings, store, Opening(is_older_allowed=True))
    _began, allowed, opened = await trail_rows(settings.trail)
    assert (allowed.event, allowed.detail["former_version"]) == ("model.older_allowed", 2)
    assert (opened.event, opened.detail["pack_version"]) == ("model.opened", 1)
    assert read_accepted(settings.accepted_file) == {"tiny.en": 2}
    await refusal(settings, store)


async def test_versions_that_cannot_be_read_stop_the_start(settings, store):
    settings.accepted_file.write_text("[]")
    assert (await refusal(settings, store)).exit_code == EXIT_DATA


async def test_a_key_that_nobody_brings_stops_the_start(settings, store):
    named = load_settings(data_folder=settings.data_folder, packs={"keys": ["env:NOT_SET"]})
    assert (await refusal(named, store)).exit_code == EXIT_KEYS


async def test_a_setting_that_this_machine_cannot_keep_is_no_fault_of_the_model(settings, store):
    asking = load_settings(data_folder=settings.data_folder, whisper={"compute_type": "int3"})
    error = await refusal(asking, store)
    assert error.exit_code == EXIT_SETTINGS
    assert "whisper.compute_type" in str(error)
    assert await events(settings) == []


async def test_a_key_of_another_pack_is_refused_and_on_record(settings, store, monkeypatch):
    monkeypatch.setenv("OTHER", "ab" * 32)
    named = load_settings(data_folder=settings.data_folder, packs={"keys": ["env:OTHER"]})
    assert (await refusal(named, store)).exit_code == EXIT_MODEL
    assert await events(settings) == [("model.refused", "no_slot")]


async def test_opening_says_how_far_it_is(settings, store):
    steps = []
    await open_engine(settings, store, Opening(on_progress=lambda *step: steps.append(step)))
    assert steps[-1][0] == steps[-1][1]


# --- models of transformers ---


def sealed_folder(settings, folder, name):
    named = settings.model_copy(update={"model": name})
    files = {path.name: path for path in folder.iterdir()}
    seal(named, engine="transformers", version=1, files=files)


@pytest.fixture
def qwen(tmp_path):
    """Settings with a small random Qwen3-ASR, and a forced aligner for it."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.hf_models import write_aligner, write_qwen3_asr

    made = load_settings(data_folder=tmp_path / "data", model="qwen")
    make_keys(made)
    sealed_folder(made, write_qwen3_asr(tmp_path / "qwen"), "qwen")
    sealed_folder(made, write_aligner(tmp_path / "aligner"), "aligner")
    return made


@pytest.fixture
async def qwen_store(qwen):
    async with await AuditStore.open(qwen.trail, iter(range(100)).__next__) as opened:
        yield opened


def noise(seconds):
    samples = np.random.default_rng(1).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    return Utterance(samples, is_final=True, language="en")


async def test_the_pack_says_which_engine_it_is_for(qwen, qwen_store):
    from server.engines.transformers_qwen3 import TransformersQwen3

    engine = await open_engine(qwen, qwen_store, Opening())
    assert isinstance(engine, TransformersQwen3)
    assert engine.card.model_id == "qwen"
    assert len(engine.transcribe([noise(2), noise(9)])) == 2
    assert await events(qwen) == [("model.opened", None)]


async def test_an_aligner_is_opened_from_its_own_pack_and_is_on_record(qwen, qwen_store):
    aligning = load_settings(
        data_folder=qwen.data_folder, model="qwen", transformers={"aligner": "aligner"}
    )
    engine = await open_engine(aligning, qwen_store, Opening())
    assert len(engine.transcribe([noise(2)])) == 1
    models = [record.detail["model"] for record in (await trail_rows(qwen.trail))[1:]]
    assert models == ["aligner", "qwen"]
    assert read_accepted(aligning.accepted_file) == {"aligner": 1, "qwen": 1}


async def test_a_model_that_transcribes_is_refused_as_aligner_and_on_record(qwen, qwen_store):
    aligning = load_settings(
        data_folder=qwen.data_folder, model="qwen", transformers={"aligner": "qwen"}
    )
    assert "aligner" in str(await refusal(aligning, qwen_store))
    assert await events(qwen) == [("model.refused", "not_a_model")]


async def test_a_pack_of_an_aligner_is_no_model(qwen, qwen_store):
    wrong = load_settings(data_folder=qwen.data_folder, model="aligner")
    assert (await refusal(wrong, qwen_store)).exit_code == EXIT_MODEL
    assert await events(qwen) == [("model.refused", "not_a_model")]


async def test_an_aligner_that_is_not_there_stops_the_start(qwen, qwen_store):
    aligning = load_settings(
        data_folder=qwen.data_folder, model="qwen", transformers={"aligner": "none"}
    )
    assert (await refusal(aligning, qwen_store)).exit_code == EXIT_MODEL


async def test_a_gpu_that_is_not_there_is_no_fault_of_the_model(qwen, qwen_store):
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    asking = load_settings(
        data_folder=qwen.data_folder, model="qwen", transformers={"device": "cuda"}
    )
    error = await refusal(asking, qwen_store)
    assert error.exit_code == EXIT_SETTINGS
    assert "transformers.device" in str(error)
    assert await events(qwen) == []


async def test_a_pack_lies_open_for_as_long_as_its_engine_lives(qwen, qwen_store):
    engine = await open_engine(qwen, qwen_store, Opening())
    weight = engine._decoder._head.weight
    assert weight.any()
    del engine
    gc.collect()
    assert not weight.any()


async def test_an_engine_that_is_not_known_is_refused_and_on_record(qwen, qwen_store):
    named = qwen.model_copy(update={"model": "strange"})
    seal(named, engine="vosk", version=1, files={"a": b"b"})
    error = await refusal(named, qwen_store)
    assert "vosk" in str(error)
    assert await events(qwen) == [("model.refused", "not_a_model")]


async def test_without_torch_it_is_said_what_to_install(qwen, qwen_store, monkeypatch):
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    error = await refusal(qwen, qwen_store)
    assert error.exit_code == EXIT_SETTINGS
    assert "pip install" in str(error)


async def test_a_model_that_cannot_transcribe_is_refused_when_it_opens(qwen, qwen_store, tmp_path):
    from tests.hf_models import write_qwen3_asr

    folder = write_qwen3_asr(tmp_path / "deaf")
    described = folder / "processor_config.json"
    described.write_text(described.read_text().replace('"feature_size": 128', '"feature_size": 80'))
    sealed_folder(qwen, folder, "deaf")
    deaf = load_settings(data_folder=qwen.data_folder, model="deaf")
    assert "cannot transcribe" in str(await refusal(deaf, qwen_store))
    assert await events(qwen) == [("model.refused", "not_a_model")]
