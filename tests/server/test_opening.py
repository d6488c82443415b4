"""Packs of every age and keys of every kind in; an engine, or one refusal on record, out."""

import pytest

from security.accepted import read_accepted, write_accepted
from security.audit_store import AuditStore
from server.config import Settings, load_settings
from server.opening import Opening, open_engine
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_MODEL, EXIT_SETTINGS, StartError
from tests.e2e.conftest import copy_data


@pytest.fixture
def settings(embedded_model_pack, tmp_path) -> Settings:
    copy_data(embedded_model_pack, tmp_path / "data")
    return load_settings(data_folder=tmp_path / "data")


@pytest.fixture
async def store(settings):
    async with await AuditStore.open(settings.audit_file, iter(range(100)).__next__) as opened:
        yield opened


async def events(store):
    return [(record.event, record.reason) for record in await store.events()]


async def refusal(settings, store):
    with pytest.raises(StartError) as caught:
        await open_engine(settings, store, Opening())
    return caught.value


async def test_an_opened_model_is_on_record_with_its_key_and_publisher(settings, store):
    engine = await open_engine(settings, store, Opening())
    assert engine.card.model_id == "tiny.en"
    [record] = await store.events()
    assert record.event == "model.opened"
    assert record.detail["kek"].startswith("local:")
    assert len(record.detail["publisher"]) == 16
    assert read_accepted(settings.accepted_file) == {"tiny.en": 1}


async def test_an_older_model_than_one_opened_before_is_refused_and_on_record(settings, store):
    write_accepted(settings.accepted_file, "tiny.en", 2)
    assert (await refusal(settings, store)).exit_code == EXIT_MODEL
    assert await events(store) == [("model.refused", "older_version")]


async def test_an_administrator_can_allow_an_older_model_which_is_on_record(settings, store):
    write_accepted(settings.accepted_file, "tiny.en", 2)
    await open_engine(settings, store, Opening(is_older_allowed=True))
    allowed, opened = await store.events()
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
    assert await events(store) == []


async def test_a_key_of_another_pack_is_refused_and_on_record(settings, store, monkeypatch):
    monkeypatch.setenv("OTHER", "ab" * 32)
    named = load_settings(data_folder=settings.data_folder, packs={"keys": ["env:OTHER"]})
    assert (await refusal(named, store)).exit_code == EXIT_MODEL
    assert await events(store) == [("model.refused", "no_slot")]


async def test_opening_says_how_far_it_is(settings, store):
    steps = []
    await open_engine(settings, store, Opening(on_progress=lambda *step: steps.append(step)))
    assert steps[-1][0] == steps[-1][1]
