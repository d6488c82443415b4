"""Settings of bridges in, what is wrong with them out."""

from pathlib import Path

import pytest

from server.bridge_settings import BridgeSettings, DialectName, bridge_faults
from server.call_values import Role
from server.config import SettingsError, load_settings

MEDIA = DialectName.MEDIA_STREAMS


def test_a_name_and_a_dialect_are_enough():
    assert bridge_faults([BridgeSettings("pbx", MEDIA)]) == []


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"name": "PBX"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"secret_file": Path("s")}, "address"),
        ({"address": "wss://x/v1"}, "address"),
        ({"secret_file": Path("s"), "address": "https://x/v1"}, "address"),
        ({"secret_file": Path("s"), "address": "wss://[x/v1"}, "address"),
        ({"end_of_speech_ms": 199}, "end_of_speech_ms"),
        ({"end_of_speech_ms": 50_000}, "end_of_speech_ms"),
        ({"tracks": ()}, "tracks"),
        ({"tracks": ("a", "b", "c"), "dialect": DialectName.PCM}, "tracks"),
        ({"tracks": ("a", "b"), "dialect": DialectName.PCM}, "tracks"),
        ({"tracks": ("a",), "dialect": DialectName.FREESWITCH_STREAM, "channels": 2}, "tracks"),
        ({"tracks": ("a",), "dialect": DialectName.JAMBONZ_LISTEN}, "tracks"),
        ({"tracks": ("a", "b"), "dialect": DialectName.ASTERISK}, "tracks"),
        ({"tracks": ("inbound", "inbound")}, "tracks"),
        ({"tracks": ("inbund",)}, "tracks, roles"),
        ({"roles": {"inbund": Role.CUSTOMER}}, "tracks, roles"),
        ({"roles": {"callee": Role.AGENT}, "dialect": DialectName.PCM}, "roles"),
        ({"roles": {"agent": Role.AGENT}, "dialect": DialectName.JAMBONZ_STT}, "roles"),
        ({"tracks": ("inbound",), "roles": {"outbound": Role.AGENT}}, "roles"),
        ({"longest_call_s": 0}, "longest_call_s"),
        ({"longest_call_s": 86_401}, "longest_call_s"),
        ({"longest_silence_s": 0}, "longest_silence_s"),
        ({"longest_silence_s": 86_401}, "longest_silence_s"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(given, key):
    settings = BridgeSettings(**{"name": "pbx", "dialect": MEDIA, **given})
    name = "0" if key == "name" else "pbx"
    told = [fault.split(":")[0] for fault in bridge_faults([settings])]
    assert told == [f"bridges.{name}.{key}"]


@pytest.mark.parametrize(
    "given",
    [
        {"dialect": DialectName.PCM, "channels": 2, "tracks": ("agent", "caller")},
        {"dialect": DialectName.PCM, "roles": {"caller": Role.CUSTOMER}},
        {"dialect": DialectName.JAMBONZ_LISTEN, "tracks": ("a", "b"), "roles": {"b": Role.AGENT}},
        {"dialect": DialectName.JAMBONZ_STT, "roles": {"callee": Role.AGENT}},
        {"dialect": DialectName.ASTERISK, "roles": {"anything": Role.AGENT}},
        {"dialect": DialectName.VONAGE, "tracks": ("agent",)},
        {"dialect": MEDIA, "tracks": ("outbound",), "roles": {"outbound": Role.AGENT}},
    ],
)
def test_what_a_wire_has_can_be_named_and_given_roles(given):
    assert bridge_faults([BridgeSettings(name="pbx", **given)]) == []


def test_two_bridges_of_one_name_are_refused():
    settings = BridgeSettings("pbx", MEDIA)
    assert bridge_faults([settings, settings]) == ["bridges: each name once"]


def test_a_file_has_a_table_for_each(tmp_path):
    file = tmp_path / "earwitness.toml"
    file.write_text(
        '[[bridges]]\nname = "a"\ndialect = "media_streams"\ntracks = ["inbound", "outbound"]\n'
        'roles = { inbound = "customer", outbound = "agent" }\n[[bridges]]\nname = "b"\n'
        'dialect = "media_streams"\n'
    )
    one, other = load_settings(file).bridges
    assert (one.name, one.tracks, one.roles["outbound"]) == ("a", ("inbound", "outbound"), "agent")
    assert (other.name, other.tracks, other.roles) == ("b", None, {})


@pytest.mark.parametrize("line", ['dialect = "morse"', 'dialect = "media_streams"\nx = 1'])
def test_what_nobody_knows_is_a_fault_of_the_file(tmp_path, line):
    file = tmp_path / "earwitness.toml"
    file.write_text(f'[[bridges]]\nname = "a"\n{line}\n')
    with pytest.raises(SettingsError, match="bridges"):
        load_settings(file)
