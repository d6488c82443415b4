"""The settings of other people's APIs in; what speaks them, out."""

from server.client_settings import ClientSettings
from server.dialects.translation import ClientApi
from server.dialects.vosk import VoskApi
from server.dialects.whisper_live import WhisperLiveApi


def client_apis(settings: ClientSettings) -> list[ClientApi]:
    """Those that are wished."""
    apis: list[ClientApi] = []
    if settings.vosk:
        apis.append(VoskApi(is_at_root=settings.at_root == "vosk"))
    if settings.whisper_live:
        apis.append(WhisperLiveApi(is_at_root=settings.at_root == "whisper_live"))
    return apis
