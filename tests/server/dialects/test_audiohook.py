"""A Genesys client and what is heard of it, by the rules of the vendor's own suite."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.audio import AudioFormat, Encoding, ms_from_samples
from server.dialects.audiohook import AudioHookSettings
from server.dialects.values import (
    Admitted,
    Audio,
    Ended,
    Fault,
    Flush,
    LanguageChanged,
    Opening,
    Said,
    Stopped,
)
from tests.server.dialects.audiohook_client import (
    ADMITTED,
    BOTH,
    CONVERSATION,
    EXTERNAL,
    INTERNAL,
    NIL,
    RATE_HZ,
    SESSION,
    Client,
    media,
    opened,
)

FRAME = bytes(3200)
PROBE = {"conversationId": NIL, "participant": {"id": NIL, "ani": "", "aniName": "", "dnis": ""}}


def final(*words, segment=0, channel=0):
    """Words that begin each 300 ms after the one before."""
    events = [
        wire.WordEvent(text, 1000 + 300 * n, 1200 + 300 * n, 0.5) for n, text in enumerate(words)
    ]
    return Said(
        channel,
        wire.Final(segment, 500, 9000, " ".join(words), "en", 0.5, events, channel=channel),
    )


def opening_of(client=None, offered=(BOTH,), **fields):
    (opening,) = (client or Client()).open(offered, **fields)
    assert isinstance(opening, Opening)
    return opening


def fault_of(client, heard):
    """The one fault that is heard; after it nothing is, whatever comes."""
    (fault,) = heard
    assert isinstance(fault, Fault)
    assert client.dialect.receive(FRAME) == []
    assert client.dialect.receive("not a message") == []
    assert client.send("update", {"language": "de-DE"}) == []
    return fault


# --- open ---


@pytest.mark.parametrize(
    "offered",
    [
        [BOTH, EXTERNAL, INTERNAL],
        [media("internal", "external"), INTERNAL, EXTERNAL],
        [BOTH],
        [EXTERNAL],
        [INTERNAL],
    ],
)
def test_the_media_that_is_opened_is_the_first_offered_unchanged(offered):
    client = Client()
    opening = opening_of(client, offered)
    assert opening.tracks == tuple(offered[0]["channels"])
    assert opening.audio_format == AudioFormat(Encoding.MULAW, RATE_HZ)
    (message,) = client.hear(ADMITTED)
    assert message["type"] == "opened"
    assert message["parameters"]["media"] == [offered[0]]
    assert (message["id"], message["seq"], message["clientseq"]) == (SESSION, 1, 1)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([EXTERNAL, INTERNAL, BOTH], BOTH),
        ([media("external", "internal", format="L16"), BOTH], BOTH),
        ([EXTERNAL, media("external", "internal", format="L16")], "L16"),
        ([media("external", format="OPUS"), INTERNAL], INTERNAL),
        ([media("external", rate=16000), INTERNAL], INTERNAL),
        ([media("external", type="video"), INTERNAL], INTERNAL),
        ([media("external", "external"), INTERNAL], INTERNAL),
        ([media("external", "robot"), INTERNAL], INTERNAL),
        ([media("external", "internal", "external"), INTERNAL], INTERNAL),
        ([media(), INTERNAL], INTERNAL),
    ],
)
def test_both_parties_are_preferred_then_pcmu_and_what_cannot_be_read_is_passed_over(
    offered, chosen
):
    (found,) = opened(*offered).last["parameters"]["media"]
    assert found == chosen or found["format"] == chosen


def test_only_the_parties_that_the_settings_name_are_heard():
    settings = AudioHookSettings(tracks=("internal",))
    assert opening_of(Client(settings), [BOTH, EXTERNAL, INTERNAL]).tracks == ("internal",)
    client = Client(settings)
    assert fault_of(client, client.open([BOTH, EXTERNAL])).reason == "audiohook_media_unknown"


@pytest.mark.parametrize("offered", [[], [media("external", format="OPUS")]])
def test_an_offer_of_nothing_that_can_be_heard_is_refused(offered):
    client = Client()
    fault = fault_of(client, client.open(offered))
    assert fault == Fault(errors.BAD_REQUEST, "audiohook_media_unknown")


@pytest.mark.parametrize(
    ("is_big_endian", "encoding"), [(False, Encoding.PCM_S16LE), (True, Encoding.PCM_S16BE)]
)
def test_l16_is_read_in_the_byte_order_of_the_settings(is_big_endian, encoding):
    client = Client(AudioHookSettings(is_l16_big_endian=is_big_endian))
    opening = opening_of(client, [media("external", format="L16")])
    assert opening.audio_format == AudioFormat(encoding, RATE_HZ)
    client.hear(ADMITTED)
    assert client.send_audio(bytes(320), 1, 2) == [Audio(bytes(320), at_ms=0)]
    assert client.send_audio(bytes(320), 1, 2) == [Audio(bytes(320), at_ms=20)]


def test_an_open_says_which_call_it_is_and_who_speaks():
    opening = opening_of(language="de-AT")
    assert opening.call_id == CONVERSATION
    assert (opening.caller, opening.callee) == ("+1-555-555-1234", "+1-800-555-6789")
    assert opening.language == "de"
    assert not opening.is_probe


def test_an_open_without_a_language_names_none():
    assert opening_of(language=None).language is None


def test_numbers_that_are_none_are_left_out():
    participant = {"id": CONVERSATION, "ani": "", "aniName": "", "dnis": "1\n2"}
    opening = opening_of(participant=participant)
    assert (opening.caller, opening.callee) == (None, None)


def test_a_token_and_a_ticket_are_in_the_custom_configuration_and_the_rest_of_it_is_not_read():
    opening = opening_of(customConfig={"token": "a.b.c", "ticket": "t", "theirs": [1]})
    assert (opening.token, opening.ticket) == ("a.b.c", "t")
    assert "a.b.c" not in repr(opening)
    bare = opening_of()
    assert (bare.token, bare.ticket) == (None, None)


def test_nothing_is_opened_until_somebody_is_admitted():
    client = Client()
    opening_of(client)
    assert client.read_messages == []
    client.hear(ADMITTED)
    assert client.kinds == ["opened"]
    assert client.hear(ADMITTED) == []


def test_a_second_open_is_refused():
    client = opened()
    assert fault_of(client, client.open()).reason == "audiohook_opened_twice"


def test_languages_are_told_with_a_region_and_only_to_who_asks():
    told = opened(supportedLanguages=True).last["parameters"]["supportedLanguages"]
    assert {"en-US", "en-GB", "de-DE"} <= set(told)
    assert {tag[:2] for tag in told} == {"en", "de"}
    for asked in ({}, {"supportedLanguages": False}):
        assert "supportedLanguages" not in opened(**asked).last["parameters"]


def test_who_asks_for_languages_where_there_are_none_is_told_an_empty_list():
    client = Client()
    client.open(supportedLanguages=True)
    (message,) = client.hear(Admitted(frozenset(), None))
    assert message["parameters"]["supportedLanguages"] == []


# --- probes ---


def test_a_probe_is_known_by_its_nil_ids_and_is_opened_and_closed():
    client = Client()
    opening = opening_of(client, **PROBE)
    assert opening.is_probe
    assert (opening.call_id, opening.caller, opening.callee) == (None, None, None)
    assert client.hear(ADMITTED)[0]["type"] == "opened"
    assert client.send("close", {"reason": "end"}) == [Stopped()]
    assert client.hear(Ended())[0]["type"] == "closed"


@pytest.mark.parametrize("part", ["conversationId", "participant"])
def test_one_nil_id_alone_is_no_probe(part):
    assert not opening_of(**{part: PROBE[part]}).is_probe


def test_a_probe_may_offer_no_media_and_is_told_none():
    client = Client()
    assert opening_of(client, [], **PROBE).tracks == ()
    assert client.hear(ADMITTED)[0]["parameters"]["media"] == []
    assert client.send_audio(b"") == []


def test_audio_of_a_probe_is_not_heard():
    client = opened(BOTH, **PROBE)
    assert client.send_audio(FRAME) == []


# --- sequence ---


def test_a_ping_is_answered_at_once_with_its_own_sequence_number():
    client = opened()
    assert client.send("ping") == []
    assert (client.last["type"], client.last["seq"], client.last["clientseq"]) == ("pong", 2, 2)
    client.send("ping", {"rtt": "PT0.004S"})
    assert (client.last["type"], client.last["seq"], client.last["clientseq"]) == ("pong", 3, 3)


def test_a_ping_is_answered_before_the_session_is_open():
    client = Client()
    client.open()
    client.send("ping")
    client.hear(ADMITTED)
    assert client.kinds == ["pong", "opened"]


@pytest.mark.parametrize("seq", [0, 1, 3, 2**53])
def test_a_message_that_does_not_follow_the_one_before_is_refused(seq):
    client = opened()
    heard = client.send("ping", seq=seq)
    assert fault_of(client, heard) == Fault(errors.BAD_REQUEST, "audiohook_sequence_broken")


def test_the_first_message_is_number_one():
    client = Client()
    client.seq = 1
    assert fault_of(client, client.open()).reason == "audiohook_sequence_broken"


def test_a_client_cannot_have_heard_what_was_not_said():
    client = opened()
    heard = client.send("ping", serverseq=2)
    assert fault_of(client, heard).reason == "audiohook_server_sequence_unknown"


def test_a_client_may_not_have_heard_everything_yet():
    client = opened()
    assert client.send("ping", serverseq=0) == []
    assert client.kinds == ["opened", "pong"]


# --- what is malformed ---


def test_a_text_that_is_no_message_is_refused():
    client = opened()
    fault = fault_of(client, client.dialect.receive("{}"))
    assert fault == Fault(errors.BAD_REQUEST, "audiohook_message_malformed")


def test_a_message_of_another_version_is_refused():
    client = opened()
    assert fault_of(client, client.send("ping", version="1")).reason == (
        "audiohook_message_malformed"
    )


def test_a_text_over_65535_characters_is_refused():
    client = opened()
    room = 65_535 - len(client.text("ping", {"x": ""}))
    client.seq -= 1
    assert client.send("ping", {"x": "y" * room}) == []
    heard = client.send("ping", {"x": "y" * (room + 1)})
    assert fault_of(client, heard) == Fault(errors.MESSAGE_TOO_BIG, "audiohook_text_too_long")


def test_a_position_that_is_none_is_refused():
    client = opened()
    heard = client.send("resumed", position="1.5")
    assert fault_of(client, heard).reason == "audiohook_position_wrong"


def test_a_message_of_another_session_is_refused():
    client = opened()
    heard = client.send("ping", id=CONVERSATION)
    assert fault_of(client, heard).reason == "audiohook_session_differs"


def test_without_a_header_the_first_message_says_which_session_it_is():
    client = Client(headers=())
    opening_of(client)
    (message,) = client.hear(ADMITTED)
    assert message["id"] == SESSION
    heard = client.send("ping", id=CONVERSATION)
    assert fault_of(client, heard).reason == "audiohook_session_differs"


def test_a_call_of_another_organization_than_the_one_that_signed_is_refused_as_a_stranger():
    client = Client()
    fault = fault_of(client, client.open(organizationId=CONVERSATION))
    assert fault == Fault(errors.UNAUTHENTICATED, "audiohook_organization_differs")
    assert client.hear(Ended(fault.refusal))[0]["parameters"]["reason"] == "unauthorized"


def test_an_open_of_another_form_is_refused():
    client = Client()
    fault = fault_of(client, client.open(language="en"))
    assert fault == Fault(errors.BAD_REQUEST, "audiohook_open_malformed")


def test_a_type_that_the_protocol_does_not_have_is_refused():
    client = opened()
    assert fault_of(client, client.send("transcribe")).reason == "audiohook_type_unknown"


@pytest.mark.parametrize("kind", ["dtmf", "playback_started", "playback_completed"])
def test_what_belongs_to_other_products_is_passed_over_and_keys_are_not_read(kind):
    client = opened()
    assert client.send(kind, {"digit": "7"}) == []
    assert client.kinds == ["opened"]


def test_an_error_of_the_client_is_passed_over_and_its_close_answered():
    client = opened()
    assert client.send("error", {"code": 400, "message": "tough stuff"}) == []
    assert client.send("close", {"reason": "error"}) == [Stopped()]
    client.hear(Ended())
    assert (client.last["type"], client.last["clientseq"]) == ("closed", client.seq)


# --- audio ---


def test_audio_is_heard_interleaved_at_its_place_in_the_stream():
    client = opened()
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=0)]
    assert client.send_audio(FRAME[:160]) == [Audio(FRAME[:160], at_ms=200)]
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=210)]


def test_audio_before_opened_is_refused():
    client = Client()
    fault = fault_of(client, client.send_audio(FRAME))
    assert fault == Fault(errors.BAD_REQUEST, "audiohook_audio_unasked")
    client = Client()
    client.open()
    assert fault_of(client, client.send_audio(FRAME)).reason == "audiohook_audio_unasked"


def test_audio_while_paused_is_refused():
    client = opened()
    client.send("paused")
    assert fault_of(client, client.send_audio(FRAME)).reason == "audiohook_audio_unasked"


def test_audio_after_close_is_not_heard():
    client = opened()
    client.send("close", {"reason": "end"})
    assert client.send_audio(FRAME) == []
    client.hear(Ended())
    assert client.send_audio(FRAME) == []
    assert client.kinds == ["opened", "closed"]


def test_a_frame_in_which_one_party_has_a_sample_more_is_refused():
    client = opened()
    assert fault_of(client, client.send_audio(bytes(3201))).reason == "audiohook_audio_cut"
    client = opened(media("external", "internal", format="L16"))
    assert fault_of(client, client.send_audio(bytes(3202))).reason == "audiohook_audio_cut"


def test_an_empty_frame_of_audio_is_none():
    client = opened()
    assert client.send_audio(b"") == []


# --- pauses, gaps and languages ---


def test_a_pause_ends_what_is_being_said_once():
    client = opened()
    assert client.send("paused") == [Flush()]
    assert client.send("paused") == []


def test_audio_after_a_pause_goes_on_where_it_stopped():
    client = opened()
    client.send_audio(FRAME)
    client.send("paused")
    assert client.send("resumed", {"start": "PT0.2S", "discarded": "PT10S"}) == []
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=200)]


def test_a_resumed_whose_position_went_on_leaves_a_gap():
    client = opened()
    client.send_audio(FRAME)
    client.send("paused")
    client.skip(8000)
    client.send("resumed", {"start": "PT0.2S", "discarded": "PT1S"})
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=1200)]


def test_discarded_audio_is_a_gap_and_ends_nothing():
    client = opened()
    client.send_audio(FRAME)
    client.skip(4000)
    assert client.send("discarded", {"start": "PT0.2S", "discarded": "PT0.5S"}) == []
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=700)]


def test_a_discarded_of_audio_that_was_sent_moves_nothing():
    client = opened()
    client.send_audio(FRAME)
    client.send("discarded", {"start": "PT6.3S", "discarded": "PT0.3S"})
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=200)]


def test_a_position_that_goes_back_moves_nothing():
    client = opened()
    client.send_audio(FRAME)
    client.send("discarded", position="PT0S")
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=200)]


def test_discarded_while_paused_does_not_resume():
    client = opened()
    client.send("paused")
    client.send("discarded")
    assert fault_of(client, client.send_audio(FRAME)).reason == "audiohook_audio_unasked"


@pytest.mark.parametrize("kind", ["paused", "resumed", "discarded", "update"])
def test_before_opened_the_stream_neither_moves_nor_pauses(kind):
    client = Client()
    client.open()
    assert client.send(kind, {"language": "de-DE"}, position="PT5S") == []
    client.hear(ADMITTED)
    assert client.kinds == ["opened"]
    assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=0)]


def test_an_update_ends_what_is_being_said_changes_the_language_and_is_answered():
    client = opened()
    assert client.send("update", {"language": "de-AT"}) == [Flush(), LanguageChanged("de")]
    assert (client.last["type"], client.last["seq"], client.last["clientseq"]) == ("updated", 2, 2)


def test_a_language_can_change_in_a_pause():
    client = opened()
    client.send("paused")
    assert LanguageChanged("fr") in client.send("update", {"language": "fr-CA"})
    assert client.last["type"] == "updated"


@pytest.mark.parametrize("parameters", [{}, {"language": "de"}, {"language": 5}])
def test_an_update_without_a_language_and_its_region_is_refused(parameters):
    client = opened()
    assert fault_of(client, client.send("update", parameters)).reason == (
        "audiohook_update_malformed"
    )


# --- finals ---


def test_a_final_is_one_event_of_one_transcript_with_its_words():
    client = opened()
    (message,) = client.hear(final("hello", "world", segment=3, channel=1))
    transcript = message["parameters"]["entities"][0]["data"]
    assert transcript["channelId"] == 1
    assert (transcript["offset"], transcript["duration"]) == ("PT1.000S", "PT0.500S")
    interpretation = transcript["alternatives"][0]["interpretations"][0]
    assert interpretation["transcript"] == "hello world"
    assert [token["value"] for token in interpretation["tokens"]] == ["hello", "world"]


def test_no_captions_that_may_change_and_no_empty_finals_are_told():
    client = opened()
    for event in (
        wire.SpeechStarted(0, 0),
        wire.Partial(0, 1, 0, 500, "hello", ""),
        wire.SpeechEnded(0, 900),
    ):
        assert client.hear(Said(0, event)) == []
    assert client.hear(final()) == []
    assert client.kinds == ["opened"]


def test_finals_are_told_in_a_pause_and_after_close_and_before_closed():
    client = opened()
    client.send("paused")
    client.hear(final("one"))
    client.send("close", {"reason": "end"})
    client.hear(final("two", segment=1))
    client.hear(Ended())
    assert client.kinds == ["opened", "event", "event", "closed"]
    assert client.hear(final("three", segment=2)) == []


def test_what_was_said_before_a_fault_is_told_before_the_parting():
    client = opened()
    client.send_audio(FRAME)
    fault = fault_of(client, client.send("transcribe"))
    client.hear(final("one"))
    client.hear(Ended(fault.refusal))
    assert client.kinds == ["opened", "event", "disconnect"]


def test_a_burst_of_finals_is_told_whole_and_each_by_itself():
    client = opened()
    for segment in range(100):
        client.hear(final("word", segment=segment, channel=segment % 2))
    names = {m["parameters"]["entities"][0]["data"]["id"] for m in client.read_messages[1:]}
    assert len(names) == 100


# --- the end ---


def test_a_close_waits_for_the_last_words_and_is_then_answered():
    client = opened()
    assert client.send("close", {"reason": "end"}) == [Stopped()]
    assert client.kinds == ["opened"]
    (closed,) = client.hear(Ended())
    assert closed["type"] == "closed"
    assert (closed["seq"], closed["clientseq"]) == (2, 2)


def test_a_ping_and_a_close_at_once_are_both_answered_in_turn():
    client = opened()
    client.send("ping")
    client.send("close", {"reason": "end"})
    client.hear(Ended())
    assert client.kinds == ["opened", "pong", "closed"]
    assert client.last["clientseq"] == client.seq


def test_updates_and_pauses_leave_no_gap_in_the_numbers_until_closed():
    client = opened()
    client.send("update", {"language": "en-US"})
    client.send("paused")
    client.send("resumed", {"start": "PT0S", "discarded": "PT10S"})
    client.send("close", {"reason": "end"})
    client.hear(Ended())
    assert (client.last["seq"], client.last["clientseq"]) == (client.serverseq, client.seq)


def test_a_close_before_opened_is_answered_too():
    client = Client()
    client.open()
    assert client.send("close", {"reason": "end"}) == [Stopped()]
    assert client.hear(ADMITTED) == []
    assert client.hear(Ended())[0]["type"] == "closed"


def test_a_session_that_ends_after_a_close_is_closed_whatever_it_ended_of():
    client = opened()
    client.send("close", {"reason": "end"})
    assert client.hear(Ended(errors.INTERNAL))[0]["type"] == "closed"


@pytest.mark.parametrize("refusal", [errors.UNAUTHENTICATED, errors.FORBIDDEN])
def test_who_is_nobody_we_know_is_disconnected_as_unauthorized(refusal):
    client = Client()
    client.open()
    (message,) = client.hear(Ended(refusal))
    assert message["type"] == "disconnect"
    assert message["parameters"] == {"reason": "unauthorized", "info": refusal.text}


def test_who_is_turned_away_before_a_word_is_disconnected_under_the_session_of_the_upgrade():
    client = Client()
    (message,) = client.hear(Ended(errors.UNAUTHENTICATED))
    assert (message["type"], message["id"], message["clientseq"]) == ("disconnect", SESSION, 0)
    assert Client(headers=()).hear(Ended(errors.UNAUTHENTICATED))[0]["id"] == NIL


@pytest.mark.parametrize("refusal", [errors.REVOKED, errors.INTERNAL, errors.QUOTA_AUDIO])
def test_a_session_that_we_end_is_disconnected_as_an_error_with_our_text(refusal):
    (message,) = opened().hear(Ended(refusal))
    assert message["parameters"] == {"reason": "error", "info": refusal.text}


def test_an_open_that_there_is_no_room_for_is_an_error():
    client = Client()
    client.open()
    assert client.hear(Ended(errors.OVERLOADED))[0]["parameters"]["reason"] == "error"


def test_a_session_that_ends_as_wished_without_a_close_is_completed():
    (message,) = opened().hear(Ended())
    assert message["parameters"] == {"reason": "completed", "info": ""}


def test_we_never_close_first_but_disconnect_and_answer_the_close_that_follows():
    client = opened()
    client.hear(Ended(errors.SHUTTING_DOWN))
    assert client.send("update", {"language": "de-DE"}) == []
    assert client.send("close", {"reason": "disconnect"}) == []
    assert client.kinds == ["opened", "disconnect", "closed"]
    assert client.last["clientseq"] == client.seq
    assert client.hear(Ended()) == []
    assert client.send("ping") == []
    assert client.kinds[-1] == "closed"


def test_who_closes_after_a_fault_is_told_closed_and_not_disconnected():
    client = opened()
    fault = fault_of(client, client.send("transcribe"))
    assert client.send("close", {"reason": "end"}) == []
    client.hear(Ended(fault.refusal))
    assert client.kinds == ["opened", "closed"]


def test_a_parting_is_told_once():
    client = opened()
    client.hear(Ended(errors.IDLE))
    assert client.hear(Ended(errors.IDLE)) == []
    assert client.hear(final("late")) == []


@pytest.mark.parametrize("end", ["close", "fault", "disconnect"])
def test_pings_are_answered_until_it_is_closed(end):
    client = opened()
    if end == "disconnect":
        client.hear(Ended(errors.IDLE))
    else:
        client.send("close" if end == "close" else "transcribe")
    client.send("ping")
    assert (client.last["type"], client.last["clientseq"]) == ("pong", client.seq)


# --- in any order ---

ACTIONS = st.lists(
    st.sampled_from(["audio", "ping", "paused", "resumed", "discarded", "update", "final", "error"])
)


@given(ACTIONS)
def test_whatever_a_client_does_in_turn_its_stream_keeps_its_time_and_no_word_is_lost(actions):
    client = opened()
    is_paused, n_finals, n_answered = False, 0, 0
    for action in actions:
        match action:
            case "audio" if not is_paused:
                at_ms = ms_from_samples(client.position_samples, RATE_HZ)
                assert client.send_audio(FRAME) == [Audio(FRAME, at_ms=at_ms)]
            case "audio":
                pass
            case "discarded":
                client.skip(777)
                assert client.send(action) == []
            case "final":
                client.hear(final("word", segment=n_finals))
                n_finals += 1
            case "paused":
                assert client.send(action) == ([] if is_paused else [Flush()])
                is_paused = True
            case "update":
                client.send(action, {"language": "de-DE"})
                n_answered += 1
            case _:
                client.send(action)
                is_paused = is_paused and action != "resumed"
                n_answered += action == "ping"
    client.send("close", {"reason": "end"})
    client.hear(final("last", segment=n_finals))
    client.hear(Ended())
    assert client.kinds.count("event") == n_finals + 1
    assert len(client.kinds) == n_finals + n_answered + 3
    assert client.kinds[-1] == "closed"


TOLD = st.sampled_from([ADMITTED, final("word"), Ended(), Ended(errors.INTERNAL)])
KINDS = st.sampled_from(["open", "ping", "paused", "resumed", "update", "close", "x"])


@given(st.lists(TOLD | KINDS | st.binary(max_size=4) | st.text(max_size=4)))
def test_nothing_that_comes_or_is_told_in_any_order_raises_or_breaks_the_numbers(steps):
    client = Client()
    for step in steps:
        if isinstance(step, bytes):
            client.send_audio(step)
        elif not isinstance(step, str):
            client.hear(step)
        elif step == "open":
            client.open()
        elif step in {"ping", "paused", "resumed", "update", "close", "x"}:
            client.send(step, {"language": "de-DE"})
        else:
            assert len(client.dialect.receive(step)) <= 1
    assert client.kinds.count("opened") <= 1
    assert client.kinds.count("closed") <= 1
    assert "closed" not in client.kinds[:-1]
