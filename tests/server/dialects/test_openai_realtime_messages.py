"""Frames of OpenAI's clients, and ours."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dialects.openai_realtime_messages import (
    Append,
    Item,
    MessageError,
    ServerEvent,
    Transcription,
    Update,
    decode_event,
    encode,
    event_id_of,
)


def test_unknown_fields_are_passed_over():
    frame = '{"type":"session.update","x":1,"session":{"y":2,"audio":{"output":{}}}}'
    assert isinstance(decode_event(frame), Update)


def test_only_what_brings_audio_may_be_long():
    long = "A" * 300_000
    event = decode_event(f'{{"audio":"{long}","event_id":"e","type":"input_audio_buffer.append"}}')
    assert event == Append(long, "e")
    update = '{"type":"session.update","session":{"include":[%s"a"]}}' % ('"a",' * 100_000)
    with pytest.raises(MessageError):
        decode_event(update)


def test_neither_audio_nor_words_are_in_a_repr():
    told = repr([decode_event('{"type":"input_audio_buffer.append","audio":"c2VjcmV0"}')])
    assert told == "[Append(…)]"
    assert "secret" not in repr(Transcription(prompt="secret"))
    frame = '{"type":"session.update","session":{"input_audio_format":"secret"}}'
    assert "secret" not in repr(decode_event(frame))
    assert Append("")


def test_what_belongs_to_another_event_is_left_out():
    event = ServerEvent("conversation.item.done", "event_1", item=Item("item_1"))
    assert json.loads(encode(event)) == {
        "type": "conversation.item.done",
        "event_id": "event_1",
        "item": {
            "id": "item_1",
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        },
    }


@pytest.mark.parametrize("frame", ['{"event_id":7}', "", "7", '{"event_id":"' + "x" * 600 + '"}'])
def test_what_names_no_event_of_the_clients_names_none_in_the_answer(frame):
    assert event_id_of(frame) is None


@given(st.text())
def test_no_text_raises_anything_else(text):
    with suppress(MessageError):
        decode_event(text)
