"""Whatever this process has to log, from us or from a library, in; one JSON object a line on
standard error out; on a terminal, a line for people.

Ours are constant texts with named fields already. Of a library's record the text stays as it is
written in its code, without what was to be put in, since that may be a peer's; of an exception its
type and the places it passed through stay, never its words. So do the last words of the interpreter
itself: a warning, an exception that ended the process or a thread, or that nobody could take.
"""

import logging
import sys
import threading
import traceback
import warnings
from pathlib import Path
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from typing_extensions import override

_log = structlog.get_logger()
_LIBRARIES_FROM = logging.WARNING
_MOST_TEXT_CHARS = 200
_MOST_PLACES = 8
_FOR_PROGRAMS = structlog.processors.JSONRenderer()
_FOR_PEOPLE = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
_UNSAID = "a library logged"
"""For a text that is nothing but what was to be put into it."""


def configure_logs() -> None:
    """For the whole process; may be called again."""
    structlog.configure(
        processors=[*_COMMON, _render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_ToStandardError,
    )
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler())
    root.setLevel(_LIBRARIES_FROM)
    warnings.showwarning = _tell_warning
    sys.excepthook = _tell_last_words
    sys.unraisablehook = _tell_unraisable
    threading.excepthook = _tell_of_thread


def _places_of(trace: TracebackType | None) -> list[str]:
    """Where an exception passed through: file, line and function, the last one last."""
    frames = traceback.extract_tb(trace)[-_MOST_PLACES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _without_words(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """An exception becomes its type and its places."""
    event.pop("stack_info", None)
    error = _exception_of(event.pop("exc_info", None))
    if error is not None:
        event["error"] = type(error).__name__
        event["at"] = _places_of(error.__traceback__)
    return event


def _exception_of(about: object) -> BaseException | None:
    match about:
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None


def _of_library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The first line of the record's own text; numbers alone are put in."""
    record, values = event["_record"], event.pop("positional_args")
    text = record.msg if isinstance(record.msg, str) else _UNSAID
    if values and all(isinstance(value, int | float) for value in values):
        text %= values
    is_empty = text.strip() in {"", "%s", "%r"}
    event["event"] = _UNSAID if is_empty else text.strip().partition("\n")[0][:_MOST_TEXT_CHARS]
    event["logger"] = record.name
    return event


_COMMON: list[Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _without_words,
]


def _render(logger: WrappedLogger, method: str, event: EventDict) -> str | bytes:
    """For whoever reads standard error at that moment: a program, or somebody at a terminal."""
    renderer = _FOR_PEOPLE if sys.stderr.isatty() else _FOR_PROGRAMS
    return renderer(logger, method, event)


class _ToStandardError:
    """Writes a line to whatever standard error is at that moment, at once."""

    def __init__(self, *_names: object) -> None:
        pass

    def msg(self, line: str) -> None:
        """One write, so that no other line comes between."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = msg


class _Handler(logging.StreamHandler[TextIO]):
    """For what comes through Python's own logging."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[*_COMMON, _of_library],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _render,
                ],
                use_get_message=False,
                pass_foreign_args=True,
            )
        )

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        self.stream = sys.stderr
        super().emit(record)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """What cannot be told is let go: Python would print it with its words."""


def _tell_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    at = f"{Path(filename).name}:{lineno}"
    _log.warning("a warning of Python", warning=category.__name__, at=at)


def _tell_last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    del error
    _log.critical("the process ends by a fault", error=kind.__name__, at=_places_of(trace))


def _tell_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    kind, trace = unraisable.exc_type, unraisable.exc_traceback
    _log.error("a fault that nobody could take", error=kind.__name__, at=_places_of(trace))


def _tell_of_thread(args: "threading.ExceptHookArgs") -> None:
    at = _places_of(args.exc_traceback)
    _log.error("a thread ended by a fault", error=args.exc_type.__name__, at=at)
