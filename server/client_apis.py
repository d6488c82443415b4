"""The settings of other people's APIs in; what speaks them, out."""

from server.client_settings import ClientSettings
from server.dialects.openai_realtime import OpenAiApi
from server.dialects.translation import ClientApi


def client_apis(settings: ClientSettings) -> list[ClientApi]:
    """Those that are wished."""
    apis: list[ClientApi] = []
    if settings.openai:
        apis.append(OpenAiApi())
    return apis
