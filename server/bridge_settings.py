"""How telephone systems come in, and what is wrong with such settings.

Each bridge is an address of its own, `/v1/bridges/<name>`, that speaks one dialect. A secret is not
a setting: it lies in a file that nobody else can read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from server.audio import ACCEPTED_RATES_HZ, Encoding
from server.call_values import PARTIES, Role
from server.listed import Listed

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_LEAST_SPEECH_END_MS, _MOST_SPEECH_END_MS = 200, 30_000
"""As in `start` of the native protocol."""
_MOST_CALL_S = 86_400
_MOST_PORT = 65_535
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class DialectName(StrEnum):
    """What a telephone system speaks."""

    MEDIA_STREAMS = "media_streams"
    """Twilio, Telnyx, SignalWire, Exotel."""
    ASTERISK = "asterisk"
    """Its chan_websocket."""
    FREESWITCH_STREAM = "freeswitch_stream"
    """Its mod_audio_stream."""
    FREESWITCH_FORK = "freeswitch_fork"
    """Its mod_audio_fork."""
    JAMBONZ_LISTEN = "jambonz_listen"
    JAMBONZ_STT = "jambonz_stt"
    """As its vendor of speech recognition."""
    VONAGE = "vonage"
    PCM = "pcm"
    """Bare samples, whoever sends them."""
    AUDIOHOOK = "audiohook"
    """Genesys Cloud."""
    AEAP = "aeap"
    """Speech recognition as Asterisk's dialplan asks for it."""
    AUDIOSOCKET = "audiosocket"
    """Asterisk over TCP; a port of its own and no bridge, see `AudioSocketSettings`."""


@dataclass(frozen=True, slots=True)
class _Parties:
    """Whom a wire carries."""

    names: tuple[str, ...] | None = None
    """Theirs, unless `tracks` says others; None: any."""
    n_named: int | None = None
    """So many `tracks` has to name, who are all heard; None: it chooses between them."""


_OF_DIALECT = {
    DialectName.MEDIA_STREAMS: _Parties(("inbound", "outbound")),
    DialectName.AUDIOHOOK: _Parties(("external", "internal")),
    DialectName.ASTERISK: _Parties(n_named=1),
    DialectName.VONAGE: _Parties(n_named=1),
    DialectName.JAMBONZ_LISTEN: _Parties(PARTIES, 2),
    DialectName.JAMBONZ_STT: _Parties(PARTIES, 2),
}
_BARE = {DialectName.PCM, DialectName.FREESWITCH_STREAM, DialectName.FREESWITCH_FORK}
"""That say nothing of what they carry: the settings do."""
_SIGNED = (DialectName.MEDIA_STREAMS, DialectName.AUDIOHOOK)
"""Whose vendors sign."""


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """One way in for one telephone system."""

    name: str
    """The last part of its address; also in the trail."""
    dialect: DialectName
    secret_file: Path | None = None
    """What the vendor signs with. For `media_streams`: the account's auth tokens, one in a line;
    where there are any, only upgrades that Twilio has signed come in. For `audiohook`, which
    always needs one: an API key and its client secret in base 64, in one line; several lines for a
    key while one secret replaces another."""
    address: str | None = None
    """As the vendor was given it, `wss://…`: what it signs. Needed with a secret."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Of each track, as the wire calls it."""
    tracks: Annotated[tuple[str, ...] | None, Listed] = None
    """Those that are heard, of a wire that has them apart; of another, what all of them are
    called, in the order in which they are interleaved. None: all, by the names that they have."""
    encoding: Encoding = Encoding.PCM_S16LE
    """Of a wire that does not say it: `pcm`, FreeSWITCH."""
    sample_rate_hz: int = 16_000
    channels: int = 1
    """Interleaved parties, of such a wire."""
    l16_big_endian: bool = False
    """Whether linear samples are as RTP carries them."""
    token_in_address: bool = False
    """Whether a token may come as `?token=`: addresses are logged by whoever stands between. A
    ticket may always."""
    subject: str | None = None
    """Whose calls they are, where the vendor signs and shows no token. What Twilio signs is good
    for ever, so only `audiohook` may have one."""
    longest_call_s: int = 14_400
    """How long a call may last whose token ends before it does: that lets calls in, and what was
    revoked ends them. Limits of the token, such as `session_s`, count all the same."""
    longest_silence_s: int = 3600
    """Without a frame, after which a call counts as gone: of one on hold there may come none."""
    end_of_speech_ms: int | None = None
    """Silence that ends a segment; None: as the model's other sessions have it."""

    def faults(self) -> list[str]:
        """What is wrong, by key and rule."""
        most, least = _MOST_SPEECH_END_MS, _LEAST_SPEECH_END_MS
        is_hook = self.dialect is DialectName.AUDIOHOOK
        rules = [
            (_NAME.fullmatch(self.name), "name: lower-case letters, digits, - and _"),
            (
                self.dialect is not DialectName.AUDIOSOCKET,
                "dialect: audiosocket is no bridge, it has a port: [audiosocket]",
            ),
            (
                self.secret_file is None or _is_wss(self.address),
                "address: what the vendor was given, wss://HOST/PATH, with secret_file",
            ),
            (self.secret_file or not is_hook, "secret_file: needed by audiohook"),
            (
                self.secret_file is None or self.dialect in _SIGNED,
                f"secret_file: only with {' and '.join(_SIGNED)}",
            ),
            (self.subject is None or is_hook, "subject: only with audiohook"),
            (
                self.end_of_speech_ms is None or least <= self.end_of_speech_ms <= most,
                f"end_of_speech_ms: from {least} to {most}",
            ),
            (
                self.sample_rate_hz in ACCEPTED_RATES_HZ,
                f"sample_rate_hz: one of {', '.join(map(str, ACCEPTED_RATES_HZ))}",
            ),
            (self.channels in {1, 2}, "channels: 1 or 2"),
            (self.address is None or self.secret_file, "address: only with secret_file"),
            (0 < self.longest_call_s <= _MOST_CALL_S, f"longest_call_s: from 1 to {_MOST_CALL_S}"),
            (
                0 < self.longest_silence_s <= _MOST_CALL_S,
                f"longest_silence_s: from 1 to {_MOST_CALL_S}",
            ),
        ]
        return [fault for is_kept, fault in [*rules, *self._party_rules()] if not is_kept]

    @property
    def _parties(self) -> _Parties:
        if self.dialect in _BARE:
            return _Parties(PARTIES[: self.channels], self.channels)
        return _OF_DIALECT.get(self.dialect, _Parties())

    def _party_rules(self) -> list[tuple[bool, str]]:
        parties, tracks = self._parties, self.tracks
        names, chooses = parties.names, parties.n_named is None
        wanted = {1, 2} if parties.n_named is None else {parties.n_named}
        n_tracks = " or ".join(map(str, sorted(wanted)))
        is_each_once = tracks is None or len(set(tracks)) == len(tracks) in wanted
        is_known = names is None or not chooses or {*(tracks or ()), *self.roles} <= {*names}
        heard = names if tracks is None and not chooses else tracks
        return [
            (is_each_once, f"tracks: {n_tracks} for {self.dialect}, each once"),
            (is_known, f"tracks, roles: {' and '.join(names or ())}"),
            (heard is None or set(self.roles) <= set(heard), "roles: of tracks that are heard"),
        ]


@dataclass(frozen=True, slots=True)
class AudioSocketSettings:
    """The port of Asterisk's AudioSocket. It has neither encryption nor names: the ticket that
    names a call and what is said in it can be read on the way.
    """

    port: int = 0
    """0: none."""
    host: str = "127.0.0.1"
    may_be_remote: bool = False
    """Whether `host` may be another than this machine's own: only in a network that nobody else is
    in."""
    role: Role = Role.UNKNOWN
    """Of who is heard, where the ticket does not say."""
    most_unknown: int = 64
    """Connections at a time whose ticket was not seen yet."""


def audiosocket_faults(settings: AudioSocketSettings) -> list[str]:
    """What is wrong, by key and rule."""
    faults: list[str] = []
    if not 0 <= settings.port <= _MOST_PORT:
        faults.append(f"port: 0 to {_MOST_PORT}")
    if not settings.may_be_remote and settings.host not in _LOOPBACK:
        faults.append("host: this machine's own, unless may_be_remote")
    return faults


def bridge_faults(bridges: Sequence[BridgeSettings]) -> list[str]:
    """What is wrong with any, and with all together."""
    faults = [
        f"bridges.{each.name if _NAME.fullmatch(each.name) else index}.{fault}"
        for index, each in enumerate(bridges)
        for fault in each.faults()
    ]
    if len({each.name for each in bridges}) < len(bridges):
        faults.append("bridges: each name once")
    return faults


def _is_wss(address: str | None) -> bool:
    try:
        parts = urlsplit(address or "")
        return parts.scheme == "wss" and bool(parts.hostname) and not parts.fragment
    except ValueError:
        return False
