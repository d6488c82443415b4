"""A settings file: settings, or faults by key and rule in which no value is repeated."""

import os
import tomllib
from pathlib import Path

from server.config import SettingsError, load_settings

MAX_BYTES = 2_048
SLOWEST_MS = 1_000.0  # no stranger sends it, and pydantic builds a class each time
_SECRET = "s3cret-canary"  # noqa: S105 (the form of one)
SEEDS = [
    b'model = "base"\n[listen]\nport = 1\nhost = "::1"\norigins = ["https://a.example"]\n',
    b'modle = "s3cret-canary"\n[listen]\nport = "s3cret-canary"\n[session]\nidle_limit_s = nan\n',
    b'[packs]\nkeys = ["file:a", "env:B"]\npublishers = ["p.pub"]\n',
    b'[token_policy]\nissuer = "i"\naudience = "s3cret-canary"\nmax_lifetime_s = 900\n',
    b'[session.track.segmenter]\nend_of_speech_ms = 700\n[transformers]\ndevice = "s3cret-canary"',
    b"[whisper.guards]\nleast_mean_log_probability = -inf\n",
    b"a = 1979-05-27T07:32:00Z\nb = 0xdead\nc = [[[[]]]]\n",
    b"\xff\xfe",
]


def fuzz_settings_toml(data: bytes) -> None:
    descriptor = os.memfd_create("settings")  # a name for load_settings, and nothing on a disk
    try:
        os.write(descriptor, data)
        load_settings(Path(f"/proc/self/fd/{descriptor}"))
    except SettingsError as wrong:
        if _SECRET in str(wrong):  # it may be a key, which is told
            assert _SECRET in _keys(tomllib.loads(data.decode()))
    finally:
        os.close(descriptor)


def _keys(value) -> str:
    """All keys of a table, wherever they stand in it."""
    match value:
        case dict():
            return " ".join([*value, *map(_keys, value.values())])
        case list():
            return " ".join(map(_keys, value))
        case _:
            return ""
