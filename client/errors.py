"""Everything the client can fail with; no text in here ever holds a token.

    ClientError
    ├── UnusableError         what the caller brought cannot be used: address, token, settings
    │   └── SourceError       … or audio that cannot be read
    ├── RefusedError          the server said no at the door, before a session existed
    ├── SessionError          the session ended by an error, the server's or ours
    └── ConnectionLostError   there was no connection, or it ended before the session did
        └── SessionGoneError  … and was away for so long that the server keeps the session no longer

What a server wrote is shortened and cleaned before it becomes part of an exception, because it is
going to be printed.
"""


class ClientError(Exception):
    """Anything that can go wrong with a stream."""


class UnusableError(ClientError):
    """An address, a token or a setting that no session can be started with."""


class SourceError(UnusableError):
    """Audio that cannot be read."""


class RefusedError(ClientError):
    """The server denied the handshake."""

    def __init__(self, code: str, message: str, http_status: int) -> None:
        super().__init__(message)
        self.code = code
        """The server's code, or `http_<status>` when the answer carried none."""
        self.message = message
        self.http_status = http_status


class SessionError(ClientError):
    """The session was ended by an error."""

    def __init__(self, code: str, message: str, is_retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        """The server's code, or one of ours: `wrong_protocol`, `unread_events`, `session_over`."""
        self.message = message
        self.is_retryable = is_retryable


class ConnectionLostError(ClientError):
    """The server could not be reached, or went away before it had told everything."""

    def __init__(self, message: str, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code
        """WebSocket close code; 1006 when it just broke, None when there never was a connection."""


class SessionGoneError(ConnectionLostError):
    """The connection broke, and there was no other in time; events until then were handed over."""

    def __init__(self) -> None:
        super().__init__(
            "The connection was away for too long, and the session is over. "
            "The transcript so far is kept."
        )


def clean_text(text: str, longest_chars: int = 200) -> str:
    """What a peer wrote, on one line, without control characters and not too long."""
    printable = "".join(char if char.isprintable() else " " for char in text[: longest_chars * 4])
    return " ".join(printable.split())[:longest_chars]
