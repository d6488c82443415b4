"""Autobahn's cases for WebSocket servers in, which of them our WebSocket layer fails out.

The cases are those of the package `autobahntestsuite`, fetched from the package index and turned
into Python 3 under `build/`, in a virtual environment of their own; nothing of theirs is part of
this project. What is judged is an echo behind the server's own listener, with its own protocols and
limits, but for the longest message, which the cases want to be 64 MB.
"""

import asyncio
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from server.listen_settings import ListenSettings
from server.listener import Listener, bind

FOLDER = Path(__file__).parent.parent / "build" / "autobahn"
CATEGORIES = ("1", "2", "3", "4", "5", "6", "7", "9.1", "9.2", "10")
_SUITE = "autobahntestsuite==25.10.1"
_NEEDED = ("autobahn==0.10.9", "twisted==26.10.0", "txaio==2.1.0", "setuptools<80")
_LONGEST_MESSAGE_BYTES = 64 << 20
_GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""Of how a case went, by its own judgement; of how it was closed, `OK` and the last."""
_READY = ".converted"


def autobahn(categories: tuple[str, ...] = CATEGORIES) -> dict[str, object]:
    """`passed`, `failed` (ids) and `n_cases`."""
    python = _harness(FOLDER)
    found = asyncio.run(_judge(python, categories))
    failed = [case["id"] for case in found if not {case["behavior"], case["close"]} <= _GOOD]
    for case in found:
        if case["id"] in failed:
            print(f"{case['id']}: {case['result']} {case['at_close']}", file=sys.stderr)
    return {"passed": len(found) - len(failed), "failed": failed, "n_cases": len(found)}


async def _judge(python: Path, categories: tuple[str, ...]) -> list[dict[str, str]]:
    async def drain() -> bool:
        return True

    settings = ListenSettings(
        port=0, most_frame_bytes=_LONGEST_MESSAGE_BYTES, access_log=False, head_limit_s=10.0
    )
    with bind(settings) as bound:
        listener = Listener(_echo(), settings, drain)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listener.serve([bound]))
            url = f"ws://127.0.0.1:{bound.getsockname()[1]}/"
            client = Path(__file__).with_name("autobahn_client.py")
            process = await asyncio.create_subprocess_exec(
                *(str(python), "-P", "-W", "ignore", str(client), url, *categories),
                stdout=subprocess.PIPE,
                limit=1 << 20,
            )
            said, _ = await process.communicate()
            listener.should_exit = True
    if process.returncode:
        raise RuntimeError(f"the cases ended with {process.returncode}")
    return [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]


def _echo() -> ASGIApp:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        while (message := await websocket.receive())["type"] == "websocket.receive":
            await websocket.send({**message, "type": "websocket.send"})

    return Starlette(routes=[WebSocketRoute("/", echo)])


def _harness(folder: Path) -> Path:
    """The Python to run the cases with; made once."""
    python = folder / "venv" / "bin" / "python"
    if (folder / _READY).exists():
        return python
    venv.create(folder / "venv", with_pip=True, clear=True)
    pip = (str(python), "-W", "ignore", "-m", "pip", "--disable-pip-version-check")
    _run(*pip, "install", "--quiet", *_NEEDED)
    source = ("--no-deps", "--no-binary", ":all:")
    _run(*pip, "download", "--quiet", *source, "-d", str(folder), _SUITE)
    [archive] = folder.glob("autobahntestsuite-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    [suite] = folder.glob("autobahntestsuite-*/autobahntestsuite")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    _convert(suite, site)
    (folder / _READY).touch()
    return python


def _convert(suite: Path, site: Path) -> None:
    """From Python 2 to Python 3, into the virtual environment."""
    used = [*(suite / "case").glob("*.py"), suite / "caseset.py"]
    _run(sys.executable, "-W", "ignore", "-m", "lib2to3", "-w", "-n", *map(str, used))
    for path in used:
        text = path.read_text("latin-1")
        _replace(path, "# -*- coding: latin-1 -*-\n" + _converted(path.name, text))
    protocol = site / "autobahn" / "websocket" / "protocol.py"
    text = protocol.read_text()
    _replace(protocol, text.replace("payload_len / len(payload)", "payload_len // len(payload)"))
    (suite / "__init__.py").write_text("")
    suite.rename(site / "autobahntestsuite")


def _converted(name: str, text: str) -> str:
    """What the tool does not know: here a byte string is a text of Latin-1."""
    text = re.sub(r"\((object, Case)(, )?\)", "(Case,)", text)
    text = text.replace(
        "m.update(msg)", 'm.update(msg.encode("latin-1") if isinstance(msg, str) else msg)'
    )
    if name == "case6_x_x.py":
        as_bytes = r'chr(\1).encode("utf-8", "surrogatepass").decode("latin-1")'
        text = re.sub(r'chr\((i|j)\)\.encode\("utf-8"\)', as_bytes, text)
    if name == "case10_1_1.py":
        text = text.replace("len(self.payload) / self.p", "len(self.payload) // self.p")
    return text


def _replace(path: Path, text: str) -> None:
    path.write_text(text, "latin-1")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words


if __name__ == "__main__":
    print(json.dumps(autobahn(tuple(sys.argv[1:]) or CATEGORIES)))
