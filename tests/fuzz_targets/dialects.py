"""Frames of telephone systems, through each dialect and the bridge: text and binary, by lines."""

from server.audio import AudioFormat, Encoding
from server.bridge import Bridge
from server.bridge_values import BridgeLimits
from server.dialects.aeap import Aeap
from server.dialects.audiohook import AudioHook, AudioHookSettings
from server.dialects.audiosocket import AudioSocket
from server.dialects.media_streams import MediaStreams, MediaStreamsSettings
from server.dialects.pcm_fork import PcmFork, PcmForkSettings
from server.dialects.pcm_profiles import (
    AsteriskProfile,
    BareProfile,
    JambonzListenProfile,
    JambonzSttProfile,
    VonageProfile,
)
from server.dialects.values import Upgrade
from server.wire import Limits, Ready

_UPGRADE = Upgrade("/v1/bridges/x", headers=[("audiohook-session-id", "0" * 8)])
_SETTINGS = PcmForkSettings(AudioFormat(Encoding.MULAW, 8_000), ("caller", "callee"))
_PROFILES = (AsteriskProfile, BareProfile, JambonzListenProfile, JambonzSttProfile, VonageProfile)
_NEW = (
    lambda: MediaStreams(MediaStreamsSettings()),
    lambda: AudioHook(_UPGRADE, AudioHookSettings()),
    Aeap,
    AudioSocket,
    *(lambda profile=profile: PcmFork(profile(), _SETTINGS, _UPGRADE) for profile in _PROFILES),
)
_READY = Ready("s-1", "fake", "en", 600, Limits(None, None, 3600))
SEEDS = [
    b'\x00{"event":"start","start":{"callSid":"C","mediaFormat":{"encoding":"audio/x-mulaw"}}}\n'
    b'{"event":"media","media":{"payload":"////","chunk":"1","timestamp":"20"}}\n'
    b'{"event":"stop"}',
    b'\x01{"version":"2","type":"open","id":"00000000-0000-0000-0000-000000000000","seq":1,'
    b'"serverseq":0,"position":"PT0S","parameters":{"organizationId":"x"}}',
    b'\x02{"request":"setup","version":"0.1.0","id":"1","codecs":[{"name":"ulaw"}]}\n\xff\xff',
    b"\x03\xff\x01\x00\x10" + bytes(16) + b"\x10\x00\x02\x00\x00\x00\x00\x00",
    b"\x04MEDIA_START format:ulaw channel_id:1.2\n\xff\x7f\x7f",
    b'\x06{"sampleRate":8000,"mixType":"stereo"}\n\xff\x7f\x7f\x7f',
    b'\x07{"type":"start","sampleRateHz":8000}\n\xff\x7f\x7f\n{"type":"stop"}',
    b'\x08{"event":"websocket:connected","content-type":"audio/l16;rate=8000"}\n\xff\x01\x02',
]


def fuzz_dialects(data: bytes) -> None:
    """The first byte chooses who speaks; a line that begins with 0xff is binary, and so is all that
    an AudioSocket says.
    """
    if not data:
        return
    make = _NEW[data[0] % len(_NEW)]
    bridge = Bridge(make(), BridgeLimits(), 0.0, is_known=True)
    now_s = 0.0
    for line in data[1:].split(b"\n"):
        now_s += 0.02
        is_binary = line.startswith(b"\xff") or make is AudioSocket
        frame = line[1:] if is_binary else line.decode("utf-8", "replace")
        bridge.receive_frame(frame, now_s)
        if bridge.is_asking and not bridge.is_open:
            bridge.receive_admitted(now_s)
            bridge.receive_event(_READY, frozenset({"en"}), now_s)
        bridge.tick(now_s)
        bridge.actions()
    bridge.receive_gone(now_s)
    bridge.receive_session_end(now_s)
    bridge.actions()
    assert bridge.is_over
