"""The settings of other people's APIs in; what speaks them, out."""

import uuid

from server.client_settings import ClientSettings
from server.dialects.deepgram import DeepgramApi
from server.dialects.openai_realtime import OpenAiApi
from server.dialects.translation import ClientApi
from server.dialects.vosk import VoskApi
from server.dialects.whisper_live import WhisperLiveApi


def new_id() -> str:
    """See `Host`."""
    return str(uuid.uuid4())


def client_apis(settings: ClientSettings) -> list[ClientApi]:
    """Those that are wished."""
    apis: list[ClientApi] = []
    if settings.openai:
        apis.append(OpenAiApi())
    if settings.deepgram:
        apis.append(DeepgramApi(new_id))
    if settings.vosk:
        apis.append(VoskApi(is_at_root=settings.at_root == "vosk"))
    if settings.whisper_live:
        apis.append(WhisperLiveApi(is_at_root=settings.at_root == "whisper_live"))
    return apis
