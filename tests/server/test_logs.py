"""What a process logs, in its own words or a library's: JSON, and no peer's text."""

import json
import logging
import sys
import threading
import warnings

import pytest
import structlog

from server.listener import _NotAPeersDoing
from server.logs import _Handler, configure_logs

WORDS = "words of a caller"


@pytest.fixture
def logged(capsys):
    """The lines since the last look; what was set up for the process is given back."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, warnings.showwarning)
    hooks = (sys.excepthook, sys.unraisablehook, threading.excepthook)
    configure_logs()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.reset_defaults()
    root.handlers[:], level, warnings.showwarning = before
    root.setLevel(level)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


def fault() -> LookupError:
    try:
        raise LookupError(WORDS)
    except LookupError as error:
        return error


def test_a_terminal_gets_lines_for_people(logged, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    structlog.get_logger().warning("engine restarts", reason="hung")
    logging.getLogger("library").error("it gave up on %s", WORDS)
    ours, theirs = capsys.readouterr().err.splitlines()
    assert ours.endswith("[warning] engine restarts reason=hung")
    assert "it gave up on" in theirs
    assert WORDS not in theirs


def test_a_line_of_ours_has_its_fields_a_level_and_the_time(logged):
    structlog.get_logger().info("engine restarts", reason="hung")
    [line] = logged()
    assert (line["event"], line["level"], line["reason"]) == ("engine restarts", "info", "hung")
    assert line["timestamp"].endswith("Z")


def test_what_is_less_than_news_is_not_told(logged):
    structlog.get_logger().debug("details")
    logging.getLogger("a.library").info("details")
    assert logged() == []


def test_a_warning_of_a_library_is_json_with_its_name(logged):
    logging.getLogger("a.library").warning("the pool is full")
    [line] = logged()
    assert (line["event"], line["level"]) == ("the pool is full", "warning")
    assert (line["logger"], set(line)) == (
        "a.library",
        {"event", "level", "logger", "timestamp"},
    )


@pytest.mark.parametrize(
    ("text", "values", "told"),
    [
        ("denied: %s", (WORDS,), "denied: %s"),
        ("%d of %d in use", (3, 4), "3 of 4 in use"),
        ("%d for %s", (3, WORDS), "%d for %s"),
        ("by name: %(who)s", ({"who": WORDS},), "by name: %(who)s"),
        ("%s", (WORDS,), "a library logged"),
        ("", (), "a library logged"),
        (LookupError(WORDS), (), "a library logged"),
        (f"Task exception was never retrieved\nfuture: {WORDS}", (), "Task exception was never"),
    ],
)
def test_a_librarys_text_stays_as_it_is_in_its_code(logged, text, values, told):
    logging.getLogger("a.library").error(text, *values)
    lines = logged()
    assert WORDS not in str(lines)
    assert [line["event"].startswith(told) for line in lines] == [True]


def test_a_record_that_cannot_be_put_together_is_let_go(logged):
    _Handler().handle(logging.LogRecord("a.library", logging.ERROR, "a.py", 1, "%d", (1, 2), None))
    assert logged() == []


@pytest.mark.parametrize("about", [fault(), True, (LookupError, fault(), None)])
@pytest.mark.parametrize("is_ours", [True, False])
def test_an_exceptions_words_are_not_logged_but_its_type_and_places(logged, about, is_ours):
    logger = structlog.get_logger() if is_ours else logging.getLogger("a.library")
    try:
        raise LookupError(WORDS)
    except LookupError:
        logger.exception("it failed", exc_info=about, stack_info=True)
    [line] = logged()
    assert WORDS not in str(line)
    assert (line["event"], line["error"]) == ("it failed", "LookupError")
    assert line["at"][-1].startswith("test_logs.py:")


def test_no_exception_is_none(logged):
    structlog.get_logger().error("it failed", exc_info=None)
    [line] = logged()
    assert "error" not in line


def test_what_uvicorn_says_of_a_fault_keeps_its_type(logged):
    logger = logging.getLogger("uvicorn.error")
    hidden = _NotAPeersDoing()
    logger.addFilter(hidden)
    logger.error("Exception in ASGI application\n", exc_info=fault())
    logger.warning("Invalid HTTP request received.")
    logger.removeFilter(hidden)
    [line] = logged()
    assert line["event"] == "Exception in ASGI application (LookupError)"


def test_the_interpreters_own_words_are_lines_too(logged):
    error = fault()
    sys.excepthook(LookupError, error, error.__traceback__)
    thread = threading.Thread(target=lambda: {}[WORDS])
    thread.start()
    thread.join()
    warnings.showwarning(UserWarning(WORDS), UserWarning, "somewhere/a.py", 7)
    lines = logged()
    assert WORDS not in str(lines)
    assert [line["event"] for line in lines] == [
        "the process ends by a fault",
        "a thread ended by a fault",
        "a warning of Python",
    ]
    assert (lines[1]["error"], lines[2]["at"]) == ("KeyError", "a.py:7")


def test_a_fault_that_nobody_could_take_is_a_line(logged):
    error = fault()
    about = type("Args", (), {"exc_type": LookupError, "exc_traceback": error.__traceback__})
    sys.unraisablehook(about)
    [line] = logged()
    assert (line["event"], line["error"]) == ("a fault that nobody could take", "LookupError")


def test_configured_twice_a_line_is_told_once(logged):
    configure_logs()
    logging.getLogger("a.library").error("once")
    assert len(logged()) == 1
