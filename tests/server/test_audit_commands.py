"""`run.py audit list | query | export | report` on a data folder: what is shown, and who looked."""

import asyncio
import csv
import io
import json
import os
import pwd
import re
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from security.audit_events import ServerStarted, TokenMinted
from security.audit_export import FORMATS, record_of_json
from security.audit_reader import TrailReader
from security.audit_store import AuditStore
from security.door_events import HandshakeRefused, SuspicionFound
from security.trail_settings import TrailSettings
from server.audit_commands import app
from server.command_line import account_name
from server.config import load_settings
from server.provision import make_keys
from tests.server.commands import complaint, shown, spoil_trail

BAD_TOKEN = HandshakeRefused("203.0.113.9", 7, None, "agent", 401, "token_bad_signature")
EVENTS = (
    ServerStarted("0.1"),
    TokenMinted("ward-7", "earwitness", "t-1", "transcribe", 60, "root-of-desk-1"),
    BAD_TOKEN,
    HandshakeRefused("10.0.0.1", 7, None, "[red]agent", 403, "scope_missing", "desk-1"),
    SuspicionFound("unknown_keys", "high", None, "203.0.113.9", 3, "3 4"),
)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path / "data"))
    made = load_settings()
    make_keys(made)
    return made


@pytest.fixture
def trail(settings):
    """With the rows of `EVENTS` behind the first."""

    async def write():
        async with await AuditStore.open(settings.trail, time.time_ns) as store:
            for event in EVENTS:
                await store.record(event)

    asyncio.run(write())
    return settings.trail


def rows(trail):
    async def read():
        async with TrailReader(trail) as reader:
            return await reader.records()

    return asyncio.run(read())


def newest(trail):
    return rows(trail)[-1]


def found(*arguments):
    """Events of the rows that a query finds."""
    return [record_of_json(line).event for line in shown(app, "query", "--json", *arguments)]


def test_the_list_shows_the_newest_rows_with_all_there_is_of_them(trail):
    lines = shown(app, "list", "--limit", "3")
    assert len(lines) == 3
    assert "handshake.refused address=203.0.113.9 reason=token_bad_signature" in lines[0]
    assert "suspicion.found" in lines[2]
    assert "rule=unknown_keys" in lines[2]


def test_the_list_can_be_of_one_event(trail):
    [line] = shown(app, "list", "--event", "token.minted")
    assert "subject=ward-7" in line


@pytest.mark.parametrize("arguments", [["list"], ["query"], ["query", "--json"]])
def test_whoever_reads_is_on_record(trail, arguments):
    shown(app, *arguments)
    row = newest(trail)
    name = pwd.getpwuid(os.getuid()).pw_name
    assert (row.event, row.detail) == ("trail.read", {"by": name, "what": "events"})


@pytest.mark.parametrize(
    ("arguments", "events"),
    [
        (["--event", "token.*"], ["token.minted"]),
        (
            ["--event", "token.minted", "--event", "suspicion.*"],
            ["token.minted", "suspicion.found"],
        ),
        (["--outcome", "failure"], ["handshake.refused"] * 2),
        (["--subject", "desk-1"], ["handshake.refused"]),
        (["--address", "203.0.113.9"], ["handshake.refused", "suspicion.found"]),
        (["--reason", "scope_missing"], ["handshake.refused"]),
        (["--by", "root-of-desk-1"], ["token.minted"]),
        (["--by", "nobody"], []),
        (["--session", "s-1"], []),
        (["--token-hash", "00"], []),
        (["--since", "1h", "--event", "server.*"], ["server.started"]),
        (["--until", "1h"], []),
        (["--until", "2020-01-31T08:00"], []),
        (["--since", "2020-01-31", "--limit", "1"], ["suspicion.found"]),
        (["--since", "2020-01-31T08:00:00+02:00", "--event", "token.*"], ["token.minted"]),
    ],
)
def test_a_query_finds_what_fits(trail, arguments, events):
    assert found(*arguments) == events


def test_a_query_can_go_on_before_a_row(trail):
    numbers = [row.seq for row in rows(trail)]
    first, second = shown(app, "query", "--json", "--before", "3")
    assert [record_of_json(line).seq for line in (first, second)] == numbers[:2]


def test_a_query_is_a_table_for_people_without_markup(trail, monkeypatch):
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    styled = shown(app, "query", "--outcome", "failure")
    lines = [re.sub(r"\x1b\[[\d;]*m", "", each) for each in styled]
    assert lines[0].split()[:3] == ["seq", "time", "(UTC)"]
    assert "203.0.113.9" in lines[1]
    assert "user_agent=[red]agent" in lines[2]


def test_a_query_for_programs_has_a_tab_between_its_columns(trail):
    head, line = shown(app, "query", "--event", "token.*")
    assert head.split("\t")[:2] == ["seq", "time (UTC)"]
    assert line.split("\t")[2:6] == ["token.minted", "ward-7", "", ""]


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "--outcome", "maybe"],
        ["query", "--since", "yesterday"],
        ["query", "--limit", "0"],
        ["query", "--before", "-1"],
        ["query", "--before", "99999999999999999999"],
        ["query", "--since", "999999999d"],
        ["query", "--until", "9999-12-31"],
        ["query", "--event", "nope"],
        ["export", "--event", "nope.*"],
        ["list", "--event", "session"],
        ["export", "--format", "xml"],
        ["report", "--hours", "0"],
    ],
)
def test_what_cannot_be_meant_is_refused(trail, arguments):
    n_rows = len(rows(trail))
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert len(rows(trail)) == n_rows


def test_a_time_that_is_none_is_told_with_both_forms(trail):
    text = " ".join(CliRunner().invoke(app, ["query", "--until", "soon"]).stderr.split())
    assert all(each in text for each in ("--until", "24h", "2026-01-31T08:00"))


def test_what_cannot_be_recorded_is_not_shown_and_the_reason_is_told(trail):
    with closing(sqlite3.connect(trail.segment_files()[-1])) as other:
        other.execute("BEGIN IMMEDIATE")
        line = complaint(app, "query", exit_code=5)
    assert "could not be put on record" in line
    assert "locked by another program" in line


@pytest.mark.parametrize("arguments", [["list"], ["query"], ["query", "--json"], ["export"]])
def test_a_reader_who_has_enough_is_no_fault(trail, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from server.audit_commands import app; app()", *arguments]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)  # noqa: S603 (ours)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_export_is_a_new_file_that_nobody_else_can_read(trail, tmp_path):
    output = tmp_path / "trail.csv"
    n_rows = len(rows(trail)) + 1  # that somebody takes them
    result = CliRunner().invoke(app, ["export", "--format", "csv", "--output", str(output)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{n_rows} events: {output}\n"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert len(list(csv.reader(io.StringIO(output.read_text())))) == n_rows + 1
    row = newest(trail)
    assert (row.event, row.detail["format"]) == ("trail.exported", "csv")
    assert (row.detail["n_events"], row.detail["by"]) == (n_rows, account_name())


def test_an_export_never_replaces_a_file(trail, tmp_path):
    output = tmp_path / "there"
    output.write_text("mine")
    line = complaint(app, "export", "--output", str(output), exit_code=5)
    assert str(output) in line
    assert output.read_text() == "mine"


@pytest.mark.parametrize("name", ["ndjson", "ocsf"])
def test_an_export_can_go_to_standard_output(trail, name):
    n_rows = len(rows(trail)) + 1
    lines = shown(app, "export", "--format", name)
    assert len([json.loads(line) for line in lines]) == n_rows
    assert newest(trail).event == "trail.exported"


def test_an_export_is_on_record_before_anything_is_shown(trail, monkeypatch):
    def break_off(_record):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setitem(FORMATS, "ndjson", replace(FORMATS["ndjson"], line=break_off))
    CliRunner().invoke(app, ["export"])
    row = newest(trail)
    assert (row.event, row.detail["what"], row.detail["by"]) == (
        *("trail.read", "export"),
        account_name(),
    )


def test_an_export_can_be_of_some_events(trail):
    [line] = shown(app, "export", "--event", "token.minted", "--since", "1h")
    assert record_of_json(line).subject == "ward-7"


def test_an_export_that_cannot_be_recorded_leaves_no_file(trail, tmp_path):
    output = tmp_path / "out"
    trail.head_file.write_bytes(b"9" * 86)
    complaint(app, "export", "--output", str(output), exit_code=5)
    assert not output.exists()


def test_an_export_that_fails_on_its_way_leaves_no_file(settings, tmp_path):
    async def write():
        few = TrailSettings(segment_rows=2)
        async with await AuditStore.open(settings.trail, time.time_ns, few) as store:
            for _ in range(6):
                await store.record(BAD_TOKEN)

    asyncio.run(write())
    closed = settings.trail.segment_files()[0]
    closed.chmod(0o600)
    closed.write_bytes(b"not a database" * 1000)
    complaint(app, "export", "--output", str(tmp_path / "out"), exit_code=5)
    assert not (tmp_path / "out").exists()


def test_a_report_sums_up_the_last_hours(trail):
    text = "\n".join(shown(app, "report", "--hours", "2"))
    for part in ("totals", "handshake.refused", "token_bad_signature", "203.0.113.9", "desk-1"):
        assert part in text
    assert "unknown_keys" in text
    assert newest(trail).detail["what"] == "report"


def test_a_report_can_be_json(trail):
    [line] = shown(app, "report", "--json")
    report = json.loads(line)
    assert (report["n_refused"], report["n_findings"]) == (2, 1)
    assert {each["address"] for each in report["addresses"]} == {"10.0.0.1", "203.0.113.9"}


@pytest.mark.parametrize("command", ["list", "query", "export", "report"])
def test_without_a_trail_there_is_nothing_to_read(settings, command):
    assert "no audit trail yet" in complaint(app, command, exit_code=5)
    assert not settings.trail.folder.exists()


@pytest.mark.parametrize("command", ["list", "query", "export", "report"])
def test_a_damaged_trail_is_told(settings, command):
    spoil_trail(settings)
    complaint(app, command, exit_code=5)


def test_an_account_without_a_name_has_a_number(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert account_name() == "uid 4000000"
