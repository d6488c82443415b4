"""What a Genesys client says, and the rules of the vendor's own client and suite for what it is
told: every message of ours that is read here is held to them.
"""

import json
import re

from server.dialects.audiohook import AudioHook, AudioHookSettings
from server.dialects.values import Admitted, Reply, Upgrade

SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
CONVERSATION = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = "883efee8-3d6c-4537-b500-6d7ca4b92fa0"
NIL = "00000000-0000-0000-0000-000000000000"
HEADERS = (("audiohook-session-id", SESSION), ("audiohook-organization-id", ORGANIZATION))
ADMITTED = Admitted(frozenset({"en", "de"}), "en")
UUID = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
DURATION = re.compile(r"PT(?:\d*\.)?\d+S")
LANGUAGE = re.compile(r"[a-z]{2,3}-[A-Za-z]{2,3}")
RATE_HZ = 8000


def media(*channels, format="PCMU", **fields):
    return {"type": "audio", "format": format, "channels": list(channels), "rate": 8000} | fields


BOTH, EXTERNAL, INTERNAL = media("external", "internal"), media("external"), media("internal")


def seconds(duration):
    assert DURATION.fullmatch(duration)
    return float(duration[2:-1])


class Client:
    """One connection's client; what it hears of replies is read at once."""

    def __init__(self, settings=None, headers=HEADERS):
        self.dialect = AudioHook(Upgrade("/", headers), settings or AudioHookSettings())
        self.seq = self.serverseq = self.position_samples = 0
        self.read_messages = []

    def text(self, kind, parameters=None, **overrides):
        """The next message; not sent, but counted."""
        self.seq += 1
        message = {
            "version": "2",
            "type": kind,
            "id": SESSION,
            "seq": self.seq,
            "serverseq": self.serverseq,
            "position": f"PT{self.position_samples / RATE_HZ}S",
            "parameters": parameters or {},
        }
        return json.dumps(message | overrides)

    def send(self, kind, parameters=None, **overrides):
        """What is heard of it, replies left out."""
        return self._deliver(self.text(kind, parameters, **overrides))

    def send_audio(self, payload, n_channels=2, sample_bytes=1):
        self.position_samples += len(payload) // (n_channels * sample_bytes)
        return self._deliver(payload)

    def skip(self, n_samples):
        """Let audio go."""
        self.position_samples += n_samples

    def hear(self, told):
        """The messages in which it is told."""
        return [self.read(frame) for frame in self.dialect.tell(told)]

    def open(self, offered=(BOTH, EXTERNAL, INTERNAL), **fields):
        """What is heard of an `open`."""
        parameters = {
            "organizationId": ORGANIZATION,
            "conversationId": CONVERSATION,
            "participant": {
                "id": PARTICIPANT,
                "ani": "+1-555-555-1234",
                "aniName": "John Doe",
                "dnis": "+1-800-555-6789",
            },
            "media": list(offered),
            "language": "en-US",
        }
        return self.send("open", parameters | fields)

    def read(self, frame):
        """A message of ours, as the vendor's client takes it."""
        assert isinstance(frame, str)
        assert len(frame.encode()) <= 65535
        message = json.loads(frame)
        assert message["version"] == "2"
        assert message["id"] == NIL or UUID.fullmatch(message["id"])
        assert message["seq"] == self.serverseq + 1
        assert 0 <= message["clientseq"] <= self.seq
        self.serverseq = message["seq"]
        RULES[message["type"]](message["parameters"])
        self.read_messages.append(message)
        return message

    @property
    def kinds(self):
        """Of all that it was told."""
        return [message["type"] for message in self.read_messages]

    @property
    def last(self):
        return self.read_messages[-1]

    def _deliver(self, frame):
        heard = self.dialect.receive(frame)
        for value in heard:
            if isinstance(value, Reply):
                self.read(value.frame)
        return [value for value in heard if not isinstance(value, Reply)]


def opened(*offered, settings=None, **fields):
    """A client whose session listens."""
    client = Client(settings)
    client.open(offered or (BOTH, EXTERNAL, INTERNAL), **fields)
    client.hear(ADMITTED)
    assert client.kinds == ["opened"]
    return client


def _check_empty(parameters):
    assert parameters == {}


def _check_opened(parameters):
    assert len(parameters["media"]) <= 1
    assert parameters["startPaused"] is False
    assert all(LANGUAGE.fullmatch(tag) for tag in parameters.get("supportedLanguages", []))


def _check_disconnect(parameters):
    assert parameters["reason"] in {"completed", "unauthorized", "error"}
    assert isinstance(parameters["info"], str)


def _check_event(parameters):
    """One transcript, final, and no two of its words at once."""
    (entity,) = parameters["entities"]
    transcript = entity["data"]
    assert entity["type"] == "transcript"
    assert transcript["isFinal"] is True
    assert UUID.fullmatch(transcript["id"])
    assert transcript["channelId"] in {0, 1}
    assert seconds(transcript["offset"]) >= 0
    assert seconds(transcript["duration"]) >= 0
    (alternative,) = transcript["alternatives"]
    assert 0 <= alternative["confidence"] <= 1
    (interpretation,) = alternative["interpretations"]
    assert interpretation["type"] == "display"
    assert isinstance(interpretation["transcript"], str)
    tokens = interpretation["tokens"]
    assert tokens
    for token in tokens:
        assert token["type"] == "word"
        assert isinstance(token["value"], str)
        assert 0 <= token["confidence"] <= 1
        assert seconds(token["duration"]) >= 0
    assert len({seconds(token["offset"]) for token in tokens}) == len(tokens)


RULES = {
    "opened": _check_opened,
    "pong": _check_empty,
    "updated": _check_empty,
    "closed": _check_empty,
    "event": _check_event,
    "disconnect": _check_disconnect,
}
