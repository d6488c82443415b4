"""The port of Asterisk's AudioSocket, with real connections to it."""

import asyncio
import errno
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from security.call_events import CallEnded
from security.keys import new_key
from security.pseudonyms import Pseudonyms
from server.audiosocket_port import AudioSocketPort, _StreamWire
from server.bridge_settings import AudioSocketSettings
from server.bridging import CallOffice
from server.call import CallsSettings
from server.call_values import CallPlace, Role
from server.calls import Calls
from server.dialects.audiosocket import AudioSocket
from server.tickets import TicketForm
from tests.fakes import GRANT, MODEL
from tests.joined import Joined

LIMIT_S = 10.0
HANGUP = bytes(3)
SOUND = b"\x10\x01\x40" + bytes(320)
"""20 ms at 8 kHz."""
CALLED = replace(GRANT, call=CallPlace("c-1", Role.CUSTOMER, None))
TINY_MESSAGES = b"\x10\x00\x00" * 50_000


class Port(Joined):
    """And the reception behind it."""

    def __init__(self, folder):
        super().__init__(folder)
        bound = socket.create_server(("127.0.0.1", 0))
        self.address = bound.getsockname()
        calls = Calls(CallsSettings(), asyncio.get_running_loop().time)
        office = CallOffice(calls, self, Pseudonyms(new_key()), MODEL.languages)
        self.port = AudioSocketPort(bound, AudioSocketSettings(), self.reception, office)

    def opening(self):
        """The message that names the call."""
        now_s = asyncio.get_running_loop().time()
        ticket, _ = self.tickets.issue(CALLED, None, now_s, TicketForm.UUID)
        return b"\x01\x00\x10" + UUID(ticket).bytes

    async def call(self, *messages):
        """What it is told until it is closed."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.writelines(messages)
        told = await reader.read()
        writer.close()
        return told

    def reasons(self):
        return [ended.reason for ended in self.records_of(CallEnded)]


@asynccontextmanager
async def open_port(folder):
    port = Port(folder)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(port.port.run())
        yield port
        serving.cancel()


async def test_who_shows_a_ticket_is_heard_until_it_hangs_up(tmp_path):
    async with open_port(tmp_path) as port:
        await port.call(port.opening(), SOUND, SOUND, HANGUP)
    assert port.reasons() == ["stopped"]


async def test_a_fault_of_one_connection_ends_no_other(tmp_path, monkeypatch, capsys):
    hear = AudioSocket.receive

    def fail_once(self, frame):
        monkeypatch.setattr(AudioSocket, "receive", hear)
        raise LookupError("words of a call")

    monkeypatch.setattr(AudioSocket, "receive", fail_once)
    async with open_port(tmp_path) as port:
        await port.call(port.opening(), SOUND)
        await port.call(port.opening(), SOUND, HANGUP)
    assert port.reasons()[-1] == "stopped"
    assert "words of a call" not in capsys.readouterr().err


@asynccontextmanager
async def counted_turns():
    """How often others had a turn."""
    turns = [0]

    async def take_turns():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(take_turns())
        yield turns
        taking.cancel()


async def test_between_tiny_messages_the_others_have_their_turn(tmp_path):
    n_chunks = len(TINY_MESSAGES) // 4096
    async with open_port(tmp_path) as port, counted_turns() as turns:
        await port.call(port.opening(), SOUND, TINY_MESSAGES, HANGUP)
    assert port.reasons() == ["stopped"]
    assert turns[0] >= n_chunks


class Unreachable:
    """A writer that takes what is to be written and gets nothing away."""

    def write(self, data):
        pass

    async def drain(self):
        raise OSError(errno.EHOSTUNREACH, "no route")


async def test_a_peer_that_no_way_leads_to_is_gone():
    with pytest.raises(ConnectionError):
        await _StreamWire(asyncio.StreamReader(), Unreachable()).send(HANGUP)
