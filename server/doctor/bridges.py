"""The settings of telephone systems in, findings out: their secrets are read as the server reads
them, and none is shown.
"""

from collections.abc import Iterator

from security.errors import KeyFileError
from server.bridge_kinds import open_kind
from server.bridge_settings import BridgeSettings
from server.doctor.finding import Finding, bad, ok, sentence_of

_CHECK = "bridge"


def check_bridges(bridges: tuple[BridgeSettings, ...]) -> Iterator[Finding]:
    """One for each."""
    for settings in bridges:
        about = f"/v1/bridges/{settings.name}"
        try:
            open_kind(settings, lambda: 0.0)
        except KeyFileError as fault:
            yield bad(_CHECK, sentence_of(fault), "mend what it says.", about)
        else:
            signed = "its secret is there" if settings.secret_file else "it wants a token"
            yield ok(_CHECK, f"it speaks {settings.dialect}; {signed}.", about)
