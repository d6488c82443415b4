"""What OpenAI's clients are told of turns: those that silence ends, and those that they end."""

from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from tests.server.dialects.openai_session import (
    BY_CLIENT,
    Client,
    ended,
    error,
    final,
    partial,
    spoken,
    started,
    types,
)


def by_silence(**session):
    client = Client()
    client.update(**session, turn_detection={"type": "server_vad"})
    client.append()
    return client


def by_client(**session):
    client = Client()
    client.update(**BY_CLIENT, **session)
    client.append()
    return client


def deltas(client):
    return [event["delta"] for event in client.of_type("delta")]


def transcripts(client):
    return [event["transcript"] for event in client.of_type("completed")]


def test_a_segment_is_a_turn_where_silence_ends_turns():
    client = by_silence()
    events = client.tell(*spoken(0, "so be it", start_ms=100))
    order = ["speech_started", "delta", "speech_stopped", "committed", "added", "done"]
    assert types(events) == [*order, "delta", "completed"]
    assert events[0]["audio_start_ms"] == 100
    assert events[2]["audio_end_ms"] == 900
    assert events[-1]["usage"] == {"type": "duration", "seconds": 0.8}
    items = {event["item_id"] for event in events if "item_id" in event}
    assert items == {events[4]["item"]["id"]}


def test_each_turn_names_the_one_before():
    client = by_silence()
    client.tell(*spoken(0, "a b"), *spoken(1, "c d", 1000, 2000))
    first, second = client.of_type("committed")
    assert first["previous_item_id"] is None
    assert second["previous_item_id"] == first["item_id"]


def test_a_segment_without_words_is_completed_with_none():
    client = by_silence()
    client.tell(started(0), ended(0), final(0, ""))
    assert transcripts(client) == [""]
    assert deltas(client) == []


def test_deltas_stop_where_the_final_contradicts_them():
    client = by_silence()
    client.tell(started(0), partial(0, "the quick", " bro"), ended(0), final(0, "The quick fox."))
    assert deltas(client) == ["the quick"]
    assert transcripts(client) == ["The quick fox."]


def test_a_commit_where_silence_ends_turns_ends_the_one_that_is_open():
    client = by_silence()
    client.tell(started(0))
    assert client.commit() == []
    client.tell(ended(0), final(0, "so"), wire.Flushed(1000))
    assert transcripts(client) == ["so"]
    assert len(client.of_type("committed")) == 1


def test_a_commit_where_nobody_has_spoken_gives_an_empty_turn():
    client = by_silence()
    client.commit()
    events = client.tell(wire.Flushed(1000))
    assert types(events) == ["committed", "added", "done", "completed"]
    assert transcripts(client) == [""]
    assert client.commit()[0]["error"]["code"] == "input_audio_buffer_commit_empty"


def test_of_commits_that_follow_each_other_each_is_answered():
    client = by_silence()
    client.commit()
    client.append()
    client.commit()
    client.tell(*spoken(0, "hello"), wire.Flushed(1000))
    assert transcripts(client) == ["hello"]
    assert types(client.tell(wire.Flushed(2000))) == ["committed", "added", "done", "completed"]
    assert transcripts(client) == ["hello", ""]


def test_a_turn_answers_the_commit_in_whose_audio_it_began():
    client = by_silence()
    client.commit()
    client.append()
    client.commit()
    client.tell(started(0, 980), wire.Flushed(1000))
    assert transcripts(client) == [""]
    client.tell(ended(0, 1900), final(0, "hello", 980, 1900), wire.Flushed(2000))
    assert transcripts(client) == ["", "hello"]


def test_a_turn_that_was_over_before_the_commit_is_no_answer_to_it():
    client = by_silence()
    client.tell(*spoken(0, "hello"))
    client.commit()
    client.tell(wire.Flushed(1000))
    assert transcripts(client) == ["hello", ""]


def test_what_was_committed_before_the_buffer_was_cleared_is_told():
    client = by_silence()
    client.tell(started(0))
    client.commit()
    client.append()
    client.clear()
    client.tell(ended(0), final(0, "kept"), wire.Flushed(1000))
    client.tell(*spoken(1, "secret", 1100, 1900), wire.Flushed(2000))
    assert transcripts(client) == ["kept"]


def test_what_is_cleared_where_silence_ends_turns_is_not_told():
    client = by_silence()
    client.tell(*spoken(0, "kept one"), started(1, 950))
    events = client.clear()
    assert types(events) == ["cleared"]
    assert types(client.tell(partial(1, "secret"), ended(1), final(1, "secret"))) == [
        "speech_stopped"
    ]
    assert client.tell(started(2, 900), ended(2), final(2, "secret")) == []
    client.tell(wire.Flushed(1000), *spoken(3, "kept two", 1100, 1900))
    assert transcripts(client) == ["kept one", "kept two"]


def test_a_turn_that_was_over_when_the_buffer_was_cleared_is_completed():
    client = by_silence()
    client.tell(started(0), ended(0))
    client.clear()
    client.tell(final(0, "kept"), wire.Flushed(1000))
    assert transcripts(client) == ["kept"]


def test_a_turn_that_the_client_ends_is_all_that_was_said():
    client = by_client()
    told = client.tell(*spoken(0, "so be"), *spoken(1, "it then", 900, 990))
    assert set(types(told)) == {"delta"}
    committed = client.commit()
    assert types(committed) == ["committed", "added", "done"]
    assert client.said[-1] == wire.Flush(answer=True)
    [completed] = client.tell(wire.Flushed(1000))
    assert completed["transcript"] == "so be it then" == "".join(deltas(client))
    assert completed["usage"]["seconds"] == 1.0
    assert {event["item_id"] for event in told} == {completed["item_id"]}
    assert completed["item_id"] == committed[0]["item_id"]


def test_words_without_spaces_between_them_are_joined_without():
    client = by_client()
    for segment, text in enumerate(["你好", "世界"]):
        client.tell(started(segment), ended(segment), final(segment, text, language="zh"))
    client.commit()
    client.tell(wire.Flushed(1000))
    assert transcripts(client) == ["你好世界"]


def test_a_turn_in_which_nothing_was_said_is_completed_with_nothing():
    client = by_client()
    client.commit()
    client.tell(wire.Flushed(1000))
    assert transcripts(client) == [""]


def test_what_is_said_after_a_commit_belongs_to_the_next_turn():
    client = by_client()
    client.tell(started(0))
    client.commit()
    client.append()
    client.tell(ended(0), started(1, 990), partial(1, "new"), final(0, "old"))
    client.tell(wire.Flushed(1000))
    client.commit()
    client.tell(ended(1), final(1, "new words"), wire.Flushed(2000))
    assert transcripts(client) == ["old", "new words"]
    assert deltas(client) == ["new", "old", " words"]


def test_what_begins_before_a_commit_that_the_session_has_not_seen_belongs_to_it():
    client = by_client()
    client.commit()
    client.append()
    client.tell(started(0, 500), ended(0), final(0, "late"), wire.Flushed(1000))
    assert transcripts(client) == ["late"]


def test_a_caption_waits_for_the_final_of_the_segment_before():
    client = by_client()
    client.tell(started(0), ended(0), started(1), partial(1, "b"), final(0, "a"), partial(1, "b"))
    assert deltas(client) == ["a", " b"]


def test_what_is_cleared_is_dropped_and_what_follows_is_not():
    client = by_client()
    client.tell(*spoken(0, "a secret"))
    client.clear()
    client.append()
    client.commit()
    client.tell(started(1, 500), ended(1), final(1, "a secret too"), wire.Flushed(1000))
    client.tell(*spoken(2, "heard", 1500, 1800), wire.Flushed(2000))
    assert transcripts(client) == ["heard"]


def test_an_empty_buffer_is_cleared_without_asking_the_session():
    client = Client()
    assert types(client.clear()) == ["cleared"]
    client.append(b"ab")
    client.clear()
    assert client.said == []
    assert client.commit()[0]["type"] == "error"


def test_log_probabilities_are_of_words_and_spell_the_text():
    client = by_client(include=["item.input_audio_transcription.logprobs"])
    client.tell(*spoken(0, "so be"), *spoken(1, "it"))
    client.commit()
    [completed] = client.tell(wire.Flushed(1000))
    tokens = completed["logprobs"]
    assert "".join(each["token"] for each in tokens) == completed["transcript"] == "so be it"
    assert tokens[1] == {"token": " be", "logprob": -0.6931, "bytes": list(b" be")}


def test_there_are_none_unless_they_are_asked_for():
    client = by_silence()
    client.tell(*spoken(0, "so"))
    assert "logprobs" not in client.events[-1]


def test_a_word_that_is_not_in_the_text_has_its_probability_all_the_same():
    client = by_silence(include=["item.input_audio_transcription.logprobs"])
    words = [wire.WordEvent("zo", 0, 1, 0.0), wire.WordEvent("be", 0, 1, 2.0)]
    told = wire.Final(0, 0, 900, "so be", "en", 0.5, words)
    client.tell(started(0), ended(0), told)
    tokens = [(each["token"], each["logprob"]) for each in client.events[-1]["logprobs"]]
    assert tokens == [("zo", -6.9078), ("so be", 0.0)]


def test_turns_whose_words_were_lost_have_failed():
    client = by_silence()
    client.tell(started(0), ended(0), started(1, 1500))
    events = client.tell(error(errors.INTERNAL))
    assert types(events) == ["failed"]
    assert events[0]["item_id"] == client.of_type("committed")[0]["item_id"]
    client = by_client()
    client.commit()
    assert types(client.tell(error(errors.INTERNAL))) == ["failed"]


def test_words_that_nobody_has_committed_are_told_at_the_end():
    client = by_client()
    client.tell(*spoken(0, "so be it"))
    events = client.tell(error(errors.QUOTA_AUDIO))
    assert types(events) == ["committed", "added", "done", "completed", "error"]
    assert transcripts(client) == ["so be it"]


def test_going_back_to_silence_with_nothing_appended_ends_no_turn():
    client = by_silence()
    client.update(turn_detection=None)
    client.commit()
    client.tell(started(0, 990))
    assert types(client.update(turn_detection={"type": "server_vad"})) == ["updated"]
    client.tell(ended(0), final(0, "so"), wire.Flushed(1000))
    assert types(client.tell(error(errors.SHUTTING_DOWN)))[-1] == "completed"
    assert transcripts(client) == ["", "so"]


def test_news_of_segments_that_nobody_knows_is_nothing():
    client = by_silence()
    assert client.tell(partial(7, "x"), ended(7), final(7, "x"), wire.Flushed(0)) == []


@st.composite
def conversations(draw):
    """What a client does, what the session says of it, in an order that can be."""
    steps, at_ms, segment = [], 0, 0
    for _ in range(draw(st.integers(1, 8))):
        at_ms += 1000
        steps.append(("append", None))
        if draw(st.booleans()):
            steps.append(("speak", (segment, at_ms - 900, at_ms - 100)))
            segment += 1
        if draw(st.booleans()):
            steps.append(("commit", at_ms))
    steps += [("append", None), ("commit", at_ms + 1000)]
    lag = draw(st.integers(0, 6))
    return steps, lag


@given(conversations(), st.booleans())
def test_no_final_is_lost_or_told_twice_however_late_the_session_is(conversation, is_cut):
    steps, lag = conversation
    client = Client()
    client.update(turn_detection={"type": "server_vad"} if is_cut else None)
    late, spoken_words = [], []
    for kind, what in steps:
        if kind == "append":
            client.append()
        elif kind == "speak":
            number, start_ms, end_ms = what
            word = f"w{number}"
            spoken_words.append(word)
            late.append([started(number, start_ms), ended(number, end_ms)])
            late.append([final(number, word, start_ms, end_ms)])
        else:
            client.commit()
            late.append([wire.Flushed(what)])
        while len(late) > lag:
            client.tell(*late.pop(0))
    for events in late:
        client.tell(*events)
    told = [word for text in transcripts(client) for word in text.split()]
    assert told == spoken_words
    committed = [event["item_id"] for event in client.of_type("committed")]
    assert sorted(event["item_id"] for event in client.of_type("completed")) == sorted(committed)


@given(conversations())
def test_each_commit_is_answered_where_silence_ends_turns_however_late_the_session_is(
    conversation,
):
    steps, lag = conversation
    client = Client()
    client.update(turn_detection={"type": "server_vad"})
    late, over, since_commit, n_empty = [], set(), [], 0
    for kind, what in steps:
        if kind == "append":
            client.append()
        elif kind == "speak":
            number, start_ms, end_ms = what
            since_commit.append(number)
            late.append((number, [started(number, start_ms), ended(number, end_ms)]))
            late.append((None, [final(number, f"w{number}", start_ms, end_ms)]))
        else:
            client.commit()
            n_empty += set(since_commit) <= over
            since_commit = []
            late.append((None, [wire.Flushed(what)]))
        while len(late) > lag:
            number, events = late.pop(0)
            client.tell(*events)
            over.add(number)
    for _, events in late:
        client.tell(*events)
    assert transcripts(client).count("") == n_empty
