"""A real Asterisk of one's own, and dialplans that send a call's audio to us in each way it knows.

Debian's sid has it; `.ci/asterisk` unpacks it, and it runs with the libraries that lie beside it,
as whoever runs the tests, with a folder of its own for all it reads and writes. It listens on
nothing but a socket in that folder: there are no telephones, a prompt of Asterisk's own is played
into a `Local` channel instead. Its log stays in memory and its folder goes at the end, as both may
hold tokens.

Refuses to be looked for elsewhere than in EARWITNESS_ASTERISK or `build/asterisk/root`.
"""

import asyncio
import gzip
import os
import re
import shutil
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

BUILT = Path(__file__).parent.parent / "build" / "asterisk" / "root"
VOICE = "en_US_f_Allison"
START_LIMIT_S, LINE_LIMIT_S, END_LIMIT_S = 20.0, 15.0, 5.0
DIAL_LIMIT_S = 10
MOST_PATH_BYTES = 107  # of a Unix socket
CONTEXT = "rig"
MODULES = (
    *("pbx_config", "res_timing_timerfd", "res_clioriginate", "res_sorcery_config"),
    *("bridge_simple", "app_dial", "app_stack", "app_playback", "app_senddtmf", "app_verbose"),
    *("app_originate", "app_chanspy", "func_channel", "func_uri", "func_strings"),
    *("format_wav", "format_pcm", "codec_ulaw", "codec_alaw", "codec_resample"),
    *("res_http_websocket", "res_websocket_client", "chan_websocket"),
    *("res_audiosocket", "app_audiosocket", "chan_audiosocket"),
    *("res_speech", "res_aeap", "app_speech_utils", "res_speech_aeap"),
)


def asterisk_root() -> Path | None:
    """Where it was unpacked, if it was."""
    root = Path(os.environ.get("EARWITNESS_ASTERISK") or BUILT)
    needed = (root / "usr/sbin/asterisk", root / "usr/share/asterisk/sounds" / VOICE)
    return root if all(path.exists() for path in needed) else None


needs_asterisk = pytest.mark.skipif(
    asterisk_root() is None,
    reason="needs an Asterisk: run .ci/asterisk, or set EARWITNESS_ASTERISK",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence of Asterisk's own, 8 kHz mono, and what is said in it."""

    name: str
    text: str
    pcm: bytes = field(repr=False)
    """s16le. Asterisk sends all but its last 44 bytes: it takes a WAV header off twice."""


def open_prompt(name: str) -> Prompt:
    root = asterisk_root()
    assert root is not None
    listed = root / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    lines = gzip.decompress(listed.read_bytes()).decode().splitlines()
    text = next(line.split(": ", 1)[1] for line in lines if line.startswith(f"{name}: "))
    with wave.open(str(root / "usr/share/asterisk/sounds" / VOICE / f"{name}.wav")) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2)
        return Prompt(name, text.strip(), sound.readframes(sound.getnframes()))


@dataclass(frozen=True, slots=True)
class WebSocketClient:
    """One connection of `websocket_client.conf`."""

    name: str
    url: str
    token: str = field(default="", repr=False)
    """The password beside `user`: goes into `Authorization: Basic`; nothing is sent without."""
    user: str = "jwt"
    more: Mapping[str, str] = field(default_factory=dict)

    def section(self) -> str:
        signed_in = {"username": self.user, "password": self.token} if self.token else {}
        fixed = {"type": "websocket_client", "connection_type": "per_call_config"}
        return _section(self.name, {**fixed, "uri": self.url, **signed_in, **self.more})


@dataclass(frozen=True, slots=True)
class SpeechEngine:
    """One engine of `aeap.conf`."""

    name: str
    url: str
    """It sends no header: a token is in here, or in the parameters."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    codec: str = "ulaw"

    def section(self) -> str:
        custom = {f"@{key}": value for key, value in self.parameters.items()}
        fixed = {"type": "client", "url": self.url, "codecs": f"!all,{self.codec}"}
        return _section(self.name, {**fixed, "protocol": "speech_to_text", **custom})


def played(
    extension: str, *prompts: str, digits: str = "", after_s: float = 0.5, stays_s: float = 0.5
) -> str:
    """The near side of a call: says this, presses these, stays a while, and hangs up."""
    said = [f"Playback({prompt})" for prompt in prompts]
    pressed = [f"SendDTMF({digits},250)"] if digits else []
    first, last = ("Answer()", f"Wait({after_s})"), (f"Wait({stays_s})", "Hangup()")
    return _extension(extension, *first, *said, *pressed, *last)


def over_websocket(
    extension: str,
    client: str,
    codec: str = "slin16",
    control: str = "json",
    parameters: Mapping[str, str] | None = None,
) -> str:
    """Far side: all that is said, to the server of this `WebSocketClient`; `control` is the form of
    the text frames, json or plain-text. Parameters are added to the address.
    """
    added = ",".join(f"{key}={value}" for key, value in (parameters or {}).items())
    options = f"c({codec})f({control})d(in)" + (f"v({added})" if added else "")
    return _dialled(extension, f"WebSocket/{client}/{options}")


def over_audiosocket_application(extension: str, uuid: UUID, address: str) -> str:
    """Far side: all that is said, at 8 kHz, to this host:port."""
    return _extension(extension, "Answer()", f"AudioSocket({uuid},{address})")


def over_audiosocket_channel(
    extension: str, uuid: UUID, address: str, codec: str = "slin16"
) -> str:
    """Far side: all that is said, in this codec, to this host:port."""
    return _dialled(extension, f"AudioSocket/{address}/{uuid}/c({codec})")


def over_speech_engine(extension: str, engine: str, wait_s: int = 10) -> str:
    """Far side: one turn for this `SpeechEngine`; what it heard is a line of the log."""
    heard = "Verbose(0,heard <${SPEECH_TEXT(0)}> score ${SPEECH_SCORE(0)})"
    listening = ("SpeechStart()", f"SpeechBackground(silence/1,{wait_s})", heard)
    return _extension(
        extension, f"SpeechCreate({engine})", "Answer()", *listening, "SpeechDestroy()"
    )


def overheard(extension: str, other_party: str, *, own_leg: str, others_leg: str) -> str:
    """A call between who dials this and another extension, each of whom is heard apart: two more
    calls, one for each party, listen to what comes from that party, and go to these extensions.
    """
    call = _extension(
        extension,
        f"Gosub(overheard,s,1({own_leg}))",
        f"Dial(Local/{other_party}@{CONTEXT}/n,{DIAL_LIMIT_S},U(overheard^{others_leg}))",
    )
    spied = "ChanSpy,${CHANNEL}\\,oquE"
    spy = f"Originate(Local/${{ARG1}}@{CONTEXT}/n,app,{spied},,{DIAL_LIMIT_S},a)"
    return f"{call}\n[overheard]\n{_extension('s', spy, 'Return()')}\n[{CONTEXT}]"


class Asterisk:
    """One that runs."""

    def __init__(self, process: asyncio.subprocess.Process, command: Sequence[str]) -> None:
        self.lines: list[str] = []
        self._process, self._command = process, command
        self._has_more, self._has_ended = asyncio.Condition(), False

    async def originate(self, far: str, near: str) -> None:
        """Calls `far`, and when it answers, connects `near` with it."""
        await self.told(f"channel originate Local/{far}@{CONTEXT}/n extension {near}@{CONTEXT}")

    async def told(self, command: str) -> str:
        """What it answers to a command."""
        asked = await asyncio.create_subprocess_exec(
            *self._command, "-rx", command, stdout=asyncio.subprocess.PIPE, env=_ENVIRONMENT
        )
        async with asyncio.timeout(START_LIMIT_S):
            answer, _ = await asked.communicate()
        return answer.decode()

    async def line_from(self, begin: str, limit_s: float = LINE_LIMIT_S) -> str:
        """The first line of the log that begins so."""
        async with asyncio.timeout(limit_s), self._has_more:
            while not (found := [line for line in self.lines if line.startswith(begin)]):
                assert not self._has_ended, self.lines[-5:]
                await self._has_more.wait()
        return found[0]

    async def calls_ended(self, limit_s: float = LINE_LIMIT_S) -> None:
        async with asyncio.timeout(limit_s):
            while (await self.told("core show channels count")).split()[0] != "0":  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def read_log(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if b"Remote UNIX connection" in line:  # a command of ours
                continue
            async with self._has_more:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._has_more.notify_all()
        async with self._has_more:
            self._has_ended = True
            self._has_more.notify_all()

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(END_LIMIT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running_asterisk(
    folder: Path,
    dialplan: Sequence[str],
    websocket_clients: Sequence[WebSocketClient] = (),
    speech_engines: Sequence[SpeechEngine] = (),
) -> AsyncIterator[Asterisk]:
    """From its being ready to its end; the dialplan is what functions here make."""
    root, home = asterisk_root(), folder / "asterisk"
    assert root is not None
    assert len(bytes(home / "asterisk.ctl")) <= MOST_PATH_BYTES, "a shorter folder is needed"
    _configure(home, root)
    try:
        (home / "extensions.conf").write_text("\n".join([f"[{CONTEXT}]", *dialplan, ""]))
        sections = [client.section() for client in websocket_clients]
        (home / "websocket_client.conf").write_text("".join(sections))
        (home / "aeap.conf").write_text("".join(engine.section() for engine in speech_engines))
        async with _run(_command(root, home)) as asterisk:
            yield asterisk
    finally:
        shutil.rmtree(home)


@asynccontextmanager
async def _run(command: Sequence[str]) -> AsyncIterator[Asterisk]:
    process = await asyncio.create_subprocess_exec(
        *(*command, "-f", "-n", "-vvv"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_ENVIRONMENT,
    )
    asterisk = Asterisk(process, command)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asterisk.read_log())
        try:
            await asterisk.line_from("Asterisk Ready", START_LIMIT_S)
            yield asterisk
        finally:
            await asterisk.end()


_ENVIRONMENT = {"PATH": os.defpath, "TERM": "dumb"}


def _command(root: Path, home: Path) -> list[str]:
    """By the loader that belongs to its libraries, which are newer than this machine's."""
    loader = next(root.glob("usr/lib/*/ld-linux-*.so.*"))
    libraries = f"{loader.parent}:{loader.parent / 'asterisk'}"
    program = [str(root / "usr/sbin/asterisk"), "-C", str(home / "asterisk.conf")]
    return [str(loader), "--library-path", libraries, *program]


def _configure(home: Path, root: Path) -> None:
    home.mkdir()
    folders = dict.fromkeys(("etc", "varlib", "db", "key", "cache", "run", "agi", "sbin"), home)
    for name in ("log", "spool"):
        folders[name] = home / name
        folders[name].mkdir()
    folders["data"] = root / "usr/share/asterisk"
    folders["mod"] = next(root.glob("usr/lib/*/asterisk/modules"))
    paths = {f"ast{name}dir": str(path) for name, path in folders.items()}
    options = _section("options", {"defaultlanguage": VOICE})
    (home / "asterisk.conf").write_text(_section("directories", paths) + options)
    loads = "".join(f"load = {name}.so\n" for name in MODULES)
    (home / "modules.conf").write_text(f"[modules]\nautoload = no\n{loads}")
    (home / "logger.conf").write_text("[logfiles]\nconsole => notice,warning,error,verbose\n")


def _section(name: str, values: Mapping[str, str]) -> str:
    assert not any(re.search(r"[;\n]", value) for value in values.values()), "not in such a file"
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), "\n"])


def _extension(name: str, *steps: str) -> str:
    return "\n".join(f"exten => {name},{n},{step}" for n, step in enumerate(steps, start=1))


def _dialled(extension: str, channel: str) -> str:
    """Without `Answer` before: the near side begins to speak when the server has answered."""
    ended = "Verbose(0,ended <${DIALSTATUS}>)"
    return _extension(extension, f"Dial({channel},{DIAL_LIMIT_S})", ended)
