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

from server.call_values import Role
from server.listed import Listed

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_MOST_SPEECH_END_MS = 5_000
_MOST_PORT = 65_535
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_LEAST_SPEECH_END_MS = 100


class DialectName(StrEnum):
    """What a telephone system speaks."""

    MEDIA_STREAMS = "media_streams"
    """Twilio, Telnyx, SignalWire, Exotel."""
    AUDIOHOOK = "audiohook"
    """Genesys Cloud."""
    AEAP = "aeap"
    """Speech recognition as Asterisk's dialplan asks for it."""
    AUDIOSOCKET = "audiosocket"
    """Asterisk over TCP; a port of its own and no bridge, see `AudioSocketSettings`."""


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
    """Those that are heard; None: all that the wire names."""
    l16_big_endian: bool = False
    """Whether linear samples are as RTP carries them."""
    token_in_address: bool = False
    """Whether a token may come as `?token=`: addresses are logged by whoever stands between. A
    ticket may always."""
    subject: str | None = None
    """Whose calls they are, where the vendor signs and shows no token. What Twilio signs is good
    for ever, so only `audiohook` may have one."""
    end_of_speech_ms: int | None = None
    """Silence that ends a segment; None: as the model's other sessions have it."""

    def faults(self) -> list[str]:
        """What is wrong, by key and rule."""
        faults: list[str] = []
        if not _NAME.fullmatch(self.name):
            faults.append("name: lower-case letters, digits, - and _")
        if self.secret_file is not None and not _is_wss(self.address):
            faults.append("address: what the vendor was given, wss://HOST/PATH, with secret_file")
        if self.dialect is DialectName.AUDIOHOOK and self.secret_file is None:
            faults.append("secret_file: needed by audiohook")
        if self.subject is not None and self.dialect is not DialectName.AUDIOHOOK:
            faults.append("subject: only with audiohook")
        if self.dialect is DialectName.AUDIOSOCKET:
            faults.append("dialect: audiosocket is no bridge, it has a port: [audiosocket]")
        most, least = _MOST_SPEECH_END_MS, _LEAST_SPEECH_END_MS
        if self.end_of_speech_ms is not None and not least <= self.end_of_speech_ms <= most:
            faults.append(f"end_of_speech_ms: from {least} to {most}")
        if self.tracks is not None and not 0 < len(self.tracks) <= 2:
            faults.append("tracks: one or two")
        return faults


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
        f"bridges.{index}.{fault}" for index, each in enumerate(bridges) for fault in each.faults()
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
