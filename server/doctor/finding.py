"""What a check found, as a value; lines for people and for programs out.

A finding's text and remedy are constant, but for an error of ours, which names its file; what they
are about, a path or a package, stands apart. No check repeats what it read: neither a key nor a
peer's string can be in a finding.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

EXIT_BAD = 1


class Level(StrEnum):
    """How much it matters."""

    OK = "ok"
    WARN = "warn"
    """It works, and somebody should know."""
    BAD = "bad"
    """It does not work, or not safely."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer."""

    check: str
    """Stable, for programs."""
    level: Level
    text: str
    remedy: str = ""
    """What to do; empty where nothing is to be done."""
    about: str = ""
    """A path, a package, an address of the settings; empty where there is only one of the kind."""

    @property
    def line(self) -> str:
        """For people."""
        subject = f" {self.about}:" if self.about else ""
        remedy = f" To mend it: {self.remedy}" if self.remedy else ""
        return f"{self.level:<4}  {self.check:<17}{subject} {self.text}{remedy}"

    @property
    def json_line(self) -> str:
        """For programs: an object with all five fields."""
        return json.dumps(asdict(self), ensure_ascii=False)


def ok(check: str, text: str, about: str = "") -> Finding:
    """All is well."""
    return Finding(check, Level.OK, text, about=about)


def warn(check: str, text: str, remedy: str, about: str = "") -> Finding:
    """It works, and somebody should know."""
    return Finding(check, Level.WARN, text, remedy, about)


def bad(check: str, text: str, remedy: str, about: str = "") -> Finding:
    """It does not work, or not safely."""
    return Finding(check, Level.BAD, text, remedy, about)


def sentence_of(fault: Exception) -> str:
    """An error of ours, whose text names a file and no secret."""
    return str(fault).rstrip(".") + "."


def exit_code_of(findings: Iterable[Finding]) -> int:
    """0, or `EXIT_BAD` if anything is bad."""
    return EXIT_BAD if any(finding.level is Level.BAD for finding in findings) else 0
