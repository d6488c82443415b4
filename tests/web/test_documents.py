"""The page's documents are those of the Python client, for the same events."""

import json
import sys
import unicodedata

import pytest

from client import cells
from client.documents import encode_document
from client.transcript import Transcript
from server import wire
from tests.web.spoken import CHINESE, ENGLISH, SEGMENT_MS, spoken

ENCODE = """async ([sessions, kind]) => {
  const { Transcript } = await import("./transcript.js");
  const { encodeDocument } = await import("./documents.js");
  const transcript = new Transcript();
  for (const events of sessions) {
    transcript.beginSession();
    for (const event of events) transcript.receive(event);
  }
  return encodeDocument(kind, transcript.segments);
}"""
LONG = "antidisestablishmentarianism" * 3
EVENTS = {
    "english": [spoken(text, segment) for segment, text in enumerate(ENGLISH)],
    "chinese": [spoken(text, segment) for segment, text in enumerate(CHINESE)],
    "estimated": [spoken(ENGLISH[1], 0, "estimated")],
    "long word": [spoken(f"It is {LONG} as they say.")],
    "pauses": [
        wire.Final(
            0,
            0,
            20_000,
            "One. Two three",
            "en",
            0.9,
            [
                wire.WordEvent("One.", 100, 2_400, 0.9),
                wire.WordEvent("Two", 2_500, 2_600, 0.8),
                wire.WordEvent("three", 19_000, 19_050, 0.7),
            ],
        )
    ],
    "never final": [
        wire.SpeechStarted(0, 500),
        wire.Partial(0, 1, 500, 3_000, "This was", " nev"),
        wire.Partial(0, 3, 500, 8_000, "This was never", " settled, and had no words of its own"),
        wire.Partial(0, 2, 500, 7_000, "Too", " late"),
    ],
    "late partial": [spoken("Now."), wire.Partial(0, 9, 0, 100, "", "not yet")],
    "without words": [wire.Final(0, 0, 4_000, "No words, only text.", None, 0.0, [])],
    "empty": [wire.Final(0, 0, 100, "", "en", 0.0, []), spoken("After nothing.", 1)],
    "odd characters": [spoken("a\u202eb \u2028 tab\there \u200d end")],
    "words that are not there": [
        wire.Final(0, 0, 900, "as it is", "en", 0.5, [wire.WordEvent("other", 0, 900, 0.5)])
    ],
    "emoji": [spoken("👍🏽 well 👩‍👩‍👧 done é")],
    "nothing": [],
}


def written(page, kind: str, *sessions) -> str:
    messages = [[json.loads(wire.encode(event)) for event in events] for events in sessions]
    text: str = page.evaluate(ENCODE, [messages, kind])
    return text


def expected(kind: str, events) -> str:
    transcript = Transcript()
    for event in events:
        transcript.receive_event(event)
    return encode_document(kind, transcript)


@pytest.mark.parametrize("name", EVENTS)
def test_a_document_of_the_page_is_the_client_s(page, name):
    for kind in ("txt", "srt", "vtt"):
        assert written(page, kind, EVENTS[name]) == expected(kind, EVENTS[name])
    assert json.loads(written(page, "json", EVENTS[name])) == json.loads(
        expected("json", EVENTS[name])
    )


def test_a_second_session_stands_after_the_first_in_a_document(page):
    usage = wire.Usage(bytes=0, audio_ms=60_000, speech_ms=0, segments=1)
    first = [spoken("The first."), wire.Ended("stopped", usage)]
    second = [spoken("The second.")]
    segments = json.loads(written(page, "json", first, second))["segments"]
    assert [segment["start_ms"] for segment in segments] == [0, 60_000]
    assert segments[1]["words"][1]["start_ms"] == 60_300


def test_times_over_an_hour_are_the_client_s(page):
    events = [spoken("Late.", 3_700_000 // SEGMENT_MS)]
    assert written(page, "vtt", events) == expected("vtt", events)


def test_every_character_is_as_wide_as_in_the_client(page):
    widths = page.evaluate(
        """async (most) => {
          const { widthCells } = await import("./cells.js");
          return Array.from({ length: most + 1 }, (_, point) =>
            point >= 0xd800 && point <= 0xdfff ? 0 : widthCells(String.fromCodePoint(point)));
        }""",
        0x1FFFF,
    )
    known = [
        point
        for point in range(min(sys.maxunicode, 0x1FFFF) + 1)
        if unicodedata.category(chr(point)) not in ("Cn", "Cs")
    ]
    different = [hex(point) for point in known if widths[point] != cells.cells_of(chr(point))]
    assert len(different) <= len(known) // 1_000, different  # Unicode grows, and each at its pace
