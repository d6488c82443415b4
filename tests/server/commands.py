"""Commands run inside the test: what they print, and the one line when they refuse."""

from typer import Typer
from typer.testing import CliRunner

from server.config import Settings


def shown(app: Typer, *arguments: str) -> list[str]:
    """The lines that a command prints."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def complaint(app: Typer, *arguments: str, exit_code: int) -> str:
    """The one line on standard error."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    [line] = result.stderr.splitlines()
    assert line.startswith("earwitness: ")
    return line


def spoil_trail(settings: Settings) -> None:
    """Leave no trail that opens."""
    settings.trail.folder.mkdir(exist_ok=True)
    settings.trail.segment_file(1).write_bytes(b"not a database" * 1000)
