"""Settings of other people's APIs in, what is wrong with them out; and what speaks them."""

import pytest

from server.client_apis import client_apis
from server.client_settings import ClientSettings, client_faults
from server.config import SettingsError, load_settings


def paths_of(**given):
    return [path for api in client_apis(ClientSettings(**given)) for path in api.paths]


def test_the_defaults_are_sound():
    assert client_faults(ClientSettings()) == []


@pytest.mark.parametrize("frame_bytes", [1 << 16, 1 << 24])
def test_a_message_may_be_as_long_as_a_recording(frame_bytes):
    assert client_faults(ClientSettings(frame_bytes=frame_bytes)) == []


@pytest.mark.parametrize("frame_bytes", [(1 << 16) - 1, (1 << 24) + 1])
def test_a_message_has_a_limit(frame_bytes):
    with pytest.raises(SettingsError, match=r"clients\.frame_bytes: 65536 to 16777216"):
        load_settings(clients={"frame_bytes": frame_bytes})


@pytest.mark.parametrize("name", ["vosk", "whisper_live"])
def test_who_answers_at_the_root_is_switched_on(name):
    assert client_faults(ClientSettings(at_root=name, **{name: True})) == []
    with pytest.raises(SettingsError, match=r"clients\.at_root: one that is switched on"):
        load_settings(clients={"at_root": name})
    with pytest.raises(SettingsError, match=r"clients\.at_root"):
        load_settings(clients={"at_root": name, "vosk": name != "vosk"})


def test_at_the_root_answers_one_of_two_or_nobody():
    with pytest.raises(SettingsError, match=r"clients\.at_root"):
        load_settings(clients={"at_root": "openai"})


def test_somebody_may_be_quiet_for_some_time():
    with pytest.raises(SettingsError, match=r"clients\.quiet_limit_s"):
        load_settings(clients={"quiet_limit_s": 0})


def test_who_may_be_quiet_is_who_may_be_so_in_the_original():
    apis = client_apis(ClientSettings(vosk=True, whisper_live=True))
    quiet = {path for api in apis if api.may_be_quiet for path in api.paths}
    assert quiet == {"/v1/realtime", "/v1/vosk", "/v1/whisper-live"}


def test_an_api_is_spoken_where_it_is_wished():
    none = {"openai": False, "deepgram": False}
    assert paths_of(**none) == []
    assert paths_of(**none, vosk=True) == ["/v1/vosk"]
    assert paths_of(**none, whisper_live=True) == ["/v1/whisper-live"]


@pytest.mark.parametrize("name", ["vosk", "whisper_live"])
def test_one_of_them_answers_at_the_root(name):
    paths = paths_of(vosk=True, whisper_live=True, at_root=name)
    assert {"/v1/vosk", "/v1/whisper-live", "/"} <= set(paths)
    assert len(set(paths)) == len(paths)
