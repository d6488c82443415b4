"""Trails that somebody has been at in; a refusal that says what to do, and nothing changed, out."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from security.audit_store import AuditStore
from security.errors import AuditError
from security.keys import public_half
from security.trail_settings import TrailSettings
from tests.security.written_trails import assert_whole, counting_clock, ended, names_of, places_in

TRIGGERS = ("events_are_not_updated", "events_are_not_deleted", "events_are_in_order")


def opened(places):
    return AuditStore.open(places, counting_clock(), TrailSettings(segment_rows=12))


async def record(places, n_rows):
    async with await opened(places) as store:
        for _ in range(n_rows):
            await store.record(ended())


@pytest.fixture
async def places(tmp_path):
    """A trail of a closed segment with 13 rows, one with 3 signed ones, and 4 that are not yet."""
    made = places_in(tmp_path)
    await record(made, 12)
    await record(made, 3)
    store = await opened(made)
    async with store:
        for _ in range(4):
            await store.record(ended())
        shutil.copytree(tmp_path, tmp_path / "as it is")  # a crash: it is not signed
    for name in ("audit", "keys"):
        shutil.rmtree(tmp_path / name)
        shutil.move(tmp_path / "as it is" / name, tmp_path / name)
    return made


def change(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_a_trail_that_nobody_has_been_at_opens(places):
    assert [path.name[8:20] for path in places.segment_files()] == ["000000000001", "000000000014"]
    await record(places, 1)
    assert assert_whole(places) == 21


@pytest.mark.parametrize("seq", [17, 18, 20])
@pytest.mark.parametrize(
    "what",
    [
        "UPDATE events SET subject = 'nobody' WHERE seq = {}",
        "UPDATE events SET reason = NULL WHERE seq = {}",
        "UPDATE events SET at_utc_ns = at_utc_ns + 1 WHERE seq = {}",
        "UPDATE events SET epoch = epoch - 1 WHERE seq = {}",
        "UPDATE events SET mac = zeroblob(32) WHERE seq = {}",
        "DELETE FROM events WHERE seq = {}",
        "DELETE FROM events WHERE seq >= {}",
    ],
)
async def test_a_row_that_is_not_signed_yet_is_neither_changed_nor_cut_off(places, what, seq):
    change(places.segment_files()[-1], what.format(seq))
    with pytest.raises(AuditError, match=r"run\.py audit verify, then run\.py audit set-aside"):
        await opened(places)


async def test_a_row_that_was_put_behind_the_last_is_found(places):
    row = "INSERT INTO events SELECT seq + 1, {} FROM events WHERE seq = 20"
    columns = (
        "at_utc_ns, epoch, event, outcome, session_id, subject, token_hash, address, reason,"
        " audio_ms, bytes_received, detail, mac"
    )
    change(places.segment_files()[-1], row.format(columns))
    with pytest.raises(AuditError, match="a row was changed"):
        await opened(places)


async def test_rows_that_changed_places_are_found(places):
    swap = "UPDATE events SET seq = {} WHERE seq = {}"
    moves = [(99, 18), (18, 19), (19, 99)]
    change(places.segment_files()[-1], *(swap.format(*move) for move in moves))
    with pytest.raises(AuditError, match="a row was changed"):
        await opened(places)


@pytest.mark.parametrize("with_log", [True, False])
async def test_the_file_of_yesterday_in_the_place_of_todays_is_found(places, with_log):
    shutil.copytree(places.folder, places.folder.with_name("yesterday"))
    await record(places, 2)
    shutil.rmtree(places.folder)
    shutil.move(places.folder.with_name("yesterday"), places.folder)
    if not with_log:
        places.segment_files()[-1].with_name(f"{places.segment_files()[-1].name}-wal").unlink()
    with pytest.raises(AuditError, match="cannot be trusted"):
        await opened(places)


async def test_the_last_signed_row_is_the_one_that_was_signed(places):
    change(places.segment_files()[-1], "UPDATE events SET mac = zeroblob(32) WHERE seq = 16")
    with pytest.raises(AuditError, match="no signed checkpoint is of its row 16"):
        await opened(places)


async def test_a_checkpoint_of_another_tree_is_none(places):
    with closing(sqlite3.connect(places.segment_files()[-1])) as connection:
        connection.execute("DROP TRIGGER checkpoints_are_not_updated")
        connection.execute("UPDATE checkpoints SET frontier = zeroblob(length(frontier))")
        connection.commit()
    with pytest.raises(AuditError, match="no signed checkpoint"):
        await opened(places)


async def test_a_segment_that_is_new_is_bound_to_the_one_before_by_the_file_of_checkpoints(places):
    await record(places, 12)
    assert not names_of(places)[32:]
    content = places.checkpoints_file.read_text()
    places.checkpoints_file.unlink()
    with pytest.raises(AuditError, match="no signed checkpoint"):
        await opened(places)
    places.checkpoints_file.write_text(content.replace("— ", "— x", 1))
    await record(places, 1)


@pytest.mark.parametrize("name", ["chain_key_file", "head_file", "signing_key_file"])
async def test_a_trail_without_its_keys_is_refused_and_kept(places, name):
    getattr(places, name).unlink()
    text = (
        rf"{getattr(places, name)} is missing: put it back from a backup, or run\.py audit set-as"
    )
    with pytest.raises(AuditError, match=text):
        await opened(places)
    assert len(places.segment_files()) == 2
    assert not getattr(places, name).exists()


@pytest.mark.parametrize("n_rows", [12, 2])
async def test_an_older_key_is_not_called_an_older_trail(places, n_rows):
    key = places.chain_key_file.read_bytes()
    await record(places, n_rows)  # with a new segment behind it, or without
    await record(places, 0 if n_rows == 12 else 1)
    places.chain_key_file.write_bytes(key)
    with pytest.raises(AuditError, match=r"its key is older than it is .*audit-chain\.key"):
        await opened(places)


async def test_the_public_half_is_made_again_when_it_is_missing(places):
    path = public_half(places.signing_key_file)
    before = path.read_bytes()
    path.unlink()
    await record(places, 1)
    assert path.read_bytes() == before


async def test_keys_without_their_trail_are_refused_and_no_trail_is_begun(places):
    shutil.rmtree(places.folder)
    with pytest.raises(AuditError, match="has lost its rows"):
        await opened(places)
    assert places.segment_files() == []


async def test_a_head_of_rows_that_are_gone_with_their_key_is_no_beginning(places):
    shutil.rmtree(places.folder)
    places.chain_key_file.unlink()
    head = places.head_file.read_bytes()
    with pytest.raises(AuditError, match="has lost its rows"):
        await record(places, 0)
    assert places.head_file.read_bytes() == head


async def test_a_trail_whose_last_file_is_gone_is_refused(places):
    for path in places.folder.glob("segment-000000000014*"):
        path.unlink()
    with pytest.raises(AuditError, match="cannot be trusted"):
        await opened(places)


async def test_the_file_of_another_trail_is_refused(places, tmp_path):
    (tmp_path / "other").mkdir()
    other = places_in(tmp_path / "other")
    await record(other, 25)
    for path in places.folder.glob("segment-000000000014*"):
        path.unlink()
    shutil.copy(other.segment_files()[-1], places.segment_file(14))
    with pytest.raises(AuditError, match="belongs to another"):
        await opened(places)


@pytest.mark.parametrize("content", ["", "garbage", f"{99:020d} {'ab' * 32}\n", f"{1:020d} "])
async def test_a_head_that_does_not_fit_is_refused(places, content):
    places.head_file.write_text(content)
    with pytest.raises(AuditError, match="trusted"):
        await opened(places)


async def test_a_head_of_another_row_is_refused(places):
    seq, mac = places.head_file.read_text().split()
    places.head_file.write_text(f"{int(seq) - 1:020d} {mac}\n")
    with pytest.raises(AuditError, match="another one"):
        await opened(places)


async def test_rows_that_were_cut_off_while_the_server_runs_are_missed(places):
    async with await opened(places) as store:
        await store.record(ended())
        with closing(sqlite3.connect(places.segment_files()[-1])) as connection:
            connection.execute("DROP TRIGGER events_are_not_deleted")
            connection.execute("DELETE FROM events WHERE seq > 19")
            connection.commit()
        with pytest.raises(AuditError):
            await store.record(ended())
        assert store.is_failing
