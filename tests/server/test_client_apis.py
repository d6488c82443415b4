"""Which of other people's APIs are spoken."""

from server.client_apis import client_apis
from server.client_settings import ClientSettings


def paths_of(**wished):
    settings = ClientSettings(**{"openai": False, "deepgram": False, **wished})
    return [path for api in client_apis(settings) for path in api.paths]


def test_only_those_that_are_wished_are_spoken():
    assert paths_of() == []
    assert paths_of(openai=True) == ["/v1/realtime"]
