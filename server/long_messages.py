"""How long a WebSocket's messages may be of a peer that was let in: said by the application before
it accepts, kept by the protocol beneath it. Both see the state of the connection's scope.

An application that says it is told of a message that is too long, and ends the connection itself:
the protocol closes nothing over its head.
"""

_KEY = "most_message_bytes"


def allow_messages(state: dict[str, object], most_bytes: int) -> None:
    """Up to so many, from the moment of acceptance."""
    state[_KEY] = most_bytes


def allowed_bytes(state: dict[str, object]) -> int | None:
    """What was said; None: nothing."""
    most_bytes = state.get(_KEY)
    return most_bytes if isinstance(most_bytes, int) else None
