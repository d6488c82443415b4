"""What clients of OpenAI's APIs ask for by name in, what it is here out: the same over HTTP and
over WebSocket.

There is one model here. Clients that are made for OpenAI ask for one of OpenAI's, often without
saying so to whoever wrote the application; any of these that transcribes means ours. What tells
speakers apart is not among them: that is another answer.
"""

from server.recognition import ModelCard

_LIVE_ONLY = frozenset({"gpt-live-transcribe", "gpt-realtime-whisper"})
_OPENAIS = _LIVE_ONLY | {
    *("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
    "gpt-4o-mini-transcribe-2025-12-15",
}


def is_served(asked: str, model: ModelCard) -> bool:
    """Whether the name means our model."""
    return asked == model.model_id or asked in _OPENAIS


def is_cut_by_client(asked: str) -> bool:
    """In what goes to these OpenAI finds no turns: the client ends them itself."""
    return asked in _LIVE_ONLY
