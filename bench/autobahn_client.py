"""The address of an echo server and categories of Autobahn's cases in; what each case found out.

Run by `bench/autobahn.py` with a Python of its own, where Autobahn's cases lie converted to Python
3. They were written for Python 2, whose `str` held bytes: here a `str` of the cases is text in
Latin-1, a character for each byte, encoded on the way out and decoded on the way in.
"""

import binascii
import json
import sys
from typing import Any

import zope.interface

zope.interface.implements = lambda *_interfaces: None  # gone in Python 3; says nothing at run time

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    connectWS,
)
from autobahn.websocket import utf8validator
from twisted.internet import reactor

_b2a_hex = binascii.b2a_hex
_validate = utf8validator.Utf8Validator.validate


def to_bytes(text: Any) -> Any:
    """A character for each byte."""
    return text.encode("latin-1") if isinstance(text, str) else text


def to_text(data: Any) -> Any:
    """The same way back."""
    return data.decode("latin-1") if isinstance(data, bytes) else data


binascii.b2a_hex = lambda data, *rest: _b2a_hex(to_bytes(data), *rest).decode()
utf8validator.Utf8Validator.validate = lambda self, data: _validate(self, to_bytes(data))

from autobahntestsuite.case import (
    CaseBasename,
    CaseCategories,
    Cases,
    CaseSetname,
    CaseSubCategories,
)
from autobahntestsuite.caseset import CaseSet

CASES = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)


class Fuzzer(WebSocketClientProtocol):
    """Plays one case."""

    connectionWasOpen = False

    def connectionMade(self) -> None:
        """The case is made before anything is sent, since it may ask for extensions."""
        self.createWirelog = False
        self.wirelog: list[object] = []
        self.rxFrameStats: dict[int, int] = {}
        self.txFrameStats: dict[int, int] = {}
        self.runCase = self.factory.case(self)
        super().connectionMade()

    def onOpen(self) -> None:
        self.connectionWasOpen = True
        self.runCase.onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.runCase.onMessage(to_text(payload), isBinary)

    def onPing(self, payload: bytes) -> None:
        self.runCase.onPing(to_text(payload))
        super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        self.runCase.onPong(to_text(payload))

    def connectionLost(self, reason: object) -> None:
        """What is not judged by now has failed."""
        super().connectionLost(reason)
        self.runCase.onConnectionLost(self.failedByMe)
        self.factory.on_result(self.runCase)

    def sendMessage(self, payload: Any, *rest: Any, **given: Any) -> None:
        super().sendMessage(to_bytes(payload), *rest, **given)

    def sendFrame(self, opcode: int, payload: Any = b"", **given: Any) -> None:
        super().sendFrame(opcode, to_bytes(payload), **given)

    def sendMessageFrameData(self, payload: Any, *rest: Any, **given: Any) -> Any:
        return super().sendMessageFrameData(to_bytes(payload), *rest, **given)

    def sendMessageFrame(self, payload: Any, *rest: Any, **given: Any) -> None:
        super().sendMessageFrame(to_bytes(payload), *rest, **given)

    def sendPing(self, payload: Any = None) -> None:
        super().sendPing(to_bytes(payload))

    def sendPong(self, payload: Any = None) -> None:
        super().sendPong(to_bytes(payload))

    def sendCloseFrame(self, code: Any = None, reasonUtf8: Any = None, **given: Any) -> None:
        super().sendCloseFrame(code, to_bytes(reasonUtf8), **given)

    def sendData(self, data: Any, *rest: Any, **given: Any) -> None:
        super().sendData(to_bytes(data), *rest, **given)

    def logRxFrame(self, header: Any, _payload: object) -> None:
        self.rxFrameStats[header.opcode] = self.rxFrameStats.get(header.opcode, 0) + 1

    def logTxFrame(self, header: Any, *_rest: object) -> None:
        self.txFrameStats[header.opcode] = self.txFrameStats.get(header.opcode, 0) + 1

    def logRxOctets(self, data: object) -> None:
        """Counted as frames only."""

    def logTxOctets(self, data: object, sync: object) -> None:
        """Counted as frames only."""

    def enableWirelog(self, enable: object) -> None:
        """There is none."""

    def _later(self, delay_s: float, act: Any) -> None:
        def act_if_open() -> None:
            if self.state != self.STATE_CLOSED:
                act()

        reactor.callLater(delay_s, act_if_open)

    def continueLater(self, delay_s: float, fun: Any, tag: object = None) -> None:
        self._later(delay_s, fun)

    def killAfter(self, delay_s: float) -> None:
        self._later(delay_s, self.failConnection)

    def closeAfter(self, delay_s: float) -> None:
        self._later(delay_s, self.sendClose)


def play(url: str, categories: list[str]) -> None:
    """A line of JSON for each case, as it ends."""
    ids = [CASES.caseClasstoId(case) for case in Cases]
    todo = [id_ for id_ in ids if any(f"{id_}.".startswith(f"{c}.") for c in categories)]

    def next_case() -> None:
        if not todo:
            reactor.stop()
            return
        case_id = todo.pop(0)
        factory = WebSocketClientFactory(url)
        factory.logFrames = factory.logOctets = True
        factory.setProtocolOptions(failByDrop=False, version=18, openHandshakeTimeout=10)
        factory.protocol = Fuzzer
        factory.case = CASES.CasesById[case_id]

        def on_result(case: Any) -> None:
            found = {"id": case_id, "behavior": case.behavior, "close": case.behaviorClose}
            print(json.dumps({**found, "result": case.result, "at_close": case.resultClose}))
            sys.stdout.flush()
            reactor.callLater(0, next_case)

        factory.on_result = on_result
        connectWS(factory)

    reactor.callWhenRunning(next_case)
    reactor.run()


if __name__ == "__main__":
    play(sys.argv[1], sys.argv[2:])
