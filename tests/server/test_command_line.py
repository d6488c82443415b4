"""Faults of every kind in; one line and an exit code, or the fault itself, out."""

from pathlib import Path

import pytest
import typer

from security.errors import KekError, PackError, PackReason
from server.command_line import plain_errors, progress_bar, read_duration_s, read_settings
from server.start_error import StartError


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (StartError("the port is taken", 6), 6, "the port is taken"),
        (PackError(PackReason.BAD_SEGMENT), 3, PackError.TEXT),
        (KekError("Vault is sealed"), 4, "Vault is sealed"),
        (OSError(28, "No space left on device", "data"), 5, "data: No space left on device"),
        (OSError(28, "No space left on device"), 5, "[Errno 28] No space left on device"),
        (ExceptionGroup("tasks", [KekError("Vault is sealed")]), 4, "Vault is sealed"),
        (KeyError("mine"), 9, "'mine'"),
    ],
)
def test_a_fault_that_a_person_can_mend_is_one_line(capsys, fault, code, text):
    with pytest.raises(typer.Exit) as ended, plain_errors({KeyError: 9}):
        raise fault
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == f"earwitness: {text}\n"


def test_any_other_fault_shows_itself():
    with pytest.raises(ZeroDivisionError), plain_errors():
        raise ZeroDivisionError


def test_the_command_line_wins_over_all_settings(monkeypatch):
    monkeypatch.setenv("EARWITNESS_MODEL", "base")
    monkeypatch.setenv("EARWITNESS_LISTEN__PORT", "1")
    settings = read_settings(None, "mine", "::1", 2)
    assert (settings.model, settings.listen.host, settings.listen.port) == ("mine", "::1", 2)
    assert read_settings(None).model == "base"
    settings = read_settings(None, tls_cert=Path("cert.pem"), tls_key=Path("key.pem"))
    assert (settings.listen.tls_cert, settings.listen.tls_key, settings.listen.port) == (
        Path("cert.pem"),
        Path("key.pem"),
        1,
    )


@pytest.mark.parametrize(
    ("text", "duration_s"), [("0s", 0), ("90s", 90), ("15m", 900), ("7d", 604_800)]
)
def test_a_duration_is_a_number_and_a_unit(text, duration_s):
    assert read_duration_s(text) == duration_s


def test_progress_is_shown_on_terminals_only(capsys):
    with progress_bar("Opening") as on_progress:
        on_progress(1, 2)
    assert capsys.readouterr() == ("", "")
