"""The settings of other people's APIs in; what speaks them, out."""

import uuid

from server.client_settings import ClientSettings
from server.dialects.deepgram import DeepgramApi
from server.dialects.openai_realtime import OpenAiApi
from server.dialects.translation import ClientApi


def client_apis(settings: ClientSettings) -> list[ClientApi]:
    """Those that are wished."""
    apis: list[ClientApi] = []
    if settings.openai:
        apis.append(OpenAiApi())
    if settings.deepgram:
        apis.append(DeepgramApi(lambda: str(uuid.uuid4())))
    return apis
