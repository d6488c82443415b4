"""What the store writes, verified by the script that knows nothing of it."""

import hashlib
import sqlite3
from contextlib import closing

from security import audit_schema, verify_trail
from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from security.trail_places import TrailPlaces
from security.trail_settings import TrailSettings
from security.verify_trail import verify_folder
from tests.security.test_verify_tampering import change
from tests.security.trails import SCHEMA, means_of

SMALL = TrailSettings(checkpoint_every_rows=7, segment_rows=20)
NS = 10**9


async def written(tmp_path, n_rows):
    places = TrailPlaces(tmp_path / "audit", tmp_path / "keys")
    clock = iter(range(NS, 10**6 * NS, NS))
    for _ in range(2):  # a restart between
        async with await AuditStore.open(places, lambda: next(clock), SMALL) as store:
            for number in range(n_rows):
                await store.record(ServerStarted(str(number)))
    return places


def declared(*statements):
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.executescript(statement)
        connection.text_factory = bytes
        return verify_trail.schema_text(connection)


def test_the_store_the_document_and_the_verifier_know_one_schema():
    [migration] = audit_schema.MIGRATIONS
    made = declared(*migration.statements)
    assert made == declared(SCHEMA)
    assert hashlib.sha256(made.encode()).hexdigest() == verify_trail.SCHEMA_SHA256
    assert verify_trail.APPLICATION_ID == audit_schema.APPLICATION_ID
    assert len(audit_schema.MIGRATIONS) == verify_trail.SCHEMA_VERSION


async def test_what_the_store_writes_verifies_with_every_key_and_without(tmp_path):
    places = await written(tmp_path, 33)
    result = verify_folder(places.folder, means_of(places))
    assert result.problems == ()
    assert (result.first_seq, result.last_seq) == (1, 67)
    assert result.n_segments > 2
    for left_out in ("auditor_key", "chain_key", "head", "public_key"):
        assert verify_folder(places.folder, means_of(places, left_out)).problems == ()
    known = (places.checkpoints_file,)
    alone = means_of(places, "auditor_key", "chain_key", "head", known=known)
    assert verify_folder(places.folder, alone).problems == ()


async def test_a_store_at_work_verifies(tmp_path):
    places = TrailPlaces(tmp_path / "audit", tmp_path / "keys")
    async with await AuditStore.open(places, lambda: NS, SMALL) as store:
        for number in range(40):
            await store.record(ServerStarted(str(number)))
            if number % 5 == 0:
                result = verify_folder(places.folder, means_of(places))
                assert (result.problems, result.last_seq) == ((), number + 2)


async def test_each_of_its_rows_is_missed_and_each_change_found(tmp_path):
    places = await written(tmp_path, 12)
    for path in places.segment_files():
        path.chmod(0o600)
        content = path.read_bytes()
        with closing(sqlite3.connect(path)) as connection:
            rows = [seq for (seq,) in connection.execute("SELECT seq FROM events")]
        for seq in rows:
            for statement in (
                "DELETE FROM events WHERE seq = ?",
                "UPDATE events SET detail = '{}' WHERE seq = ?",
                "UPDATE events SET outcome = 'failure' WHERE seq = ?",
            ):
                change(path, statement, values=(seq,))
                assert verify_folder(places.folder, means_of(places)).problems != ()
                path.write_bytes(content)
    assert verify_folder(places.folder, means_of(places)).problems == ()
