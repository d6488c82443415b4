"""Chromium by its own protocol alone: Playwright makes every page believe that it is in front."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from tests.web.browser import CHROMIUM

_NOT_LOADED = "Cannot find default execution context"
"""Of a tab that has only just been opened."""


class BareBrowser:
    """Tabs of one window, and what runs in them."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0

    def open_tab(self, address: str) -> str:
        """In front of all others; gives what `run` wants to know."""
        target = self._ask("Target.createTarget", url=address)["targetId"]
        return self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def run(self, tab: str, expression: str):
        """The value of a promise, or of something plainer."""
        answer = self._ask(
            "Runtime.evaluate",
            session=tab,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def _ask(self, method: str, session: str | None = None, **params):
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while (answer := json.loads(self._socket.recv(60))).get("id") != self._last:
            pass
        if answer.get("error", {}).get("message") == _NOT_LOADED:
            time.sleep(0.1)
            return self._ask(method, session, **params)
        assert "error" not in answer, answer["error"]
        return answer["result"]


@contextmanager
def bare_browser(folder: Path, args: list[str]) -> Iterator[BareBrowser]:
    """Headless, as a person's browser in what it does to tabs that are not seen."""
    own = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    with subprocess.Popen(  # noqa: S603 (a fixed program)
        [CHROMIUM, *args, *own, "about:blank"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stderr:
                if "DevTools listening on " in line:
                    address = line.split("listening on ")[1].strip()
                    break
            with connect(address, max_size=None) as socket:
                yield BareBrowser(socket)
        finally:
            process.terminate()
