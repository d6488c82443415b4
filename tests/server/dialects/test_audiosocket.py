"""Bytes of Asterisk's AudioSocket in, calls and their audio out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.audio import ACCEPTED_RATES_HZ, AudioFormat, Encoding
from server.decode import Decoder
from server.dialects.audiosocket import KEEP_ALIVE, KEEP_ALIVE_S, TRACK, AudioSocket
from server.dialects.values import Admitted, Audio, Close, Ended, Fault, Opening, Said, Stopped
from tests.fakes import speech

ADMITTED = Admitted(frozenset({"en"}), None)
TICKET = "40325ec2-5efd-4bd3-805f-53576e581d13"
NAMED = bytes.fromhex("01 0010 40325ec25efd4bd3805f53576e581d13")
HANGUP = bytes.fromhex("00 0000")
SPEECH = speech(100, 8000)


def message(kind, payload=b""):
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload


def frames(kind, pcm, frame_bytes=320):
    """As Asterisk sends audio: 20 ms each, the last one what is left."""
    return [
        message(kind, pcm[start : start + frame_bytes]) for start in range(0, len(pcm), frame_bytes)
    ]


FIRST = message(0x10, b"\1\0" * 160)
"""The audio that opens a call."""


def hear(dialect, pieces):
    return [heard for piece in pieces for heard in dialect.receive(piece)]


def opened(kind=0x10):
    """A dialect whose call has opened, and its opening."""
    dialect = AudioSocket()
    (opening,) = hear(dialect, [NAMED, message(kind, bytes(4))])
    assert isinstance(opening, Opening)
    return dialect, opening


def admitted(kind=0x10):
    dialect, _ = opened(kind)
    assert dialect.tell(ADMITTED) == []
    return dialect


def sound_of(heard):
    return b"".join(audio.payload for audio in heard if isinstance(audio, Audio))


def others_of(heard):
    return [each for each in heard if not isinstance(each, Audio)]


def cut(stream, places):
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


# --- a call ---


def test_a_call_opens_with_its_first_audio_by_the_ticket_that_its_uuid_is():
    dialect = AudioSocket()
    assert dialect.receive(NAMED) == []
    (opening,) = dialect.receive(FIRST)
    assert opening == Opening((TRACK,), AudioFormat(Encoding.PCM_S16LE, 8000), ticket=TICKET)


def test_a_call_is_heard_from_its_admission_to_its_hang_up():
    dialect = admitted()
    heard = hear(dialect, [*frames(0x10, SPEECH), HANGUP])
    assert sound_of(heard) == SPEECH
    assert [audio.channel for audio in heard[:-1]] == [0] * 5
    assert heard[-1] == Stopped()


def test_an_upper_case_uuid_is_the_same_ticket():
    dialect = AudioSocket()
    raw = bytes.fromhex(TICKET.replace("-", "").upper())
    (opening,) = hear(dialect, [message(0x01, raw), FIRST])
    assert opening.ticket == TICKET


@pytest.mark.parametrize(
    ("kind", "rate_hz"),
    [
        (0x10, 8_000),
        (0x11, 12_000),
        (0x12, 16_000),
        (0x13, 24_000),
        (0x14, 32_000),
        (0x15, 44_100),
        (0x16, 48_000),
        (0x17, 96_000),
        (0x18, 192_000),
    ],
)
def test_the_kind_of_the_audio_says_its_rate(kind, rate_hz):
    dialect, opening = opened(kind)
    assert opening.audio_format == AudioFormat(Encoding.PCM_S16LE, rate_hz)
    assert rate_hz in ACCEPTED_RATES_HZ
    dialect.tell(ADMITTED)
    assert dialect.receive(message(kind, b"\1\2")) == [Audio(b"\1\2", 0)]


def test_samples_are_read_with_their_lower_byte_first():
    _, opening = opened()
    assert Decoder(opening.audio_format).decode(b"\x00\x40").tolist() == [0.5]


def test_a_short_last_frame_is_heard_as_it_is():
    pcm = SPEECH[: 320 + 276]
    assert sound_of(hear(admitted(), frames(0x10, pcm))) == pcm


@pytest.mark.parametrize("frame", [HANGUP, *(message(0xFF, bytes([code])) for code in (1, 2, 4))])
def test_a_hang_up_and_an_error_end_the_call(frame):
    dialect = admitted()
    assert dialect.receive(frame + FIRST) == [Stopped()]
    assert dialect.receive(FIRST) == []


def test_a_call_that_is_hung_up_before_any_audio_never_opens():
    assert hear(AudioSocket(), [NAMED, HANGUP]) == [Stopped()]


def test_pressed_keys_and_unknown_kinds_leave_nothing_but_the_audio_around_them():
    dialect = admitted()
    stream = [FIRST, message(0x03, b"5"), message(0x02, b"x" * 65_535), message(0x7F), FIRST]
    assert dialect.receive(b"".join(stream)) == [Audio(b"\1\0" * 320, 0)]
    assert b"5" not in repr(vars(dialect)).encode()


def test_audio_without_a_sample_is_no_audio():
    assert admitted().receive(message(0x10)) == []


# --- before it is known who calls ---


def test_no_audio_before_the_admission_is_heard_or_kept():
    dialect, _ = opened()
    assert hear(dialect, frames(0x10, SPEECH)) == []
    dialect.tell(ADMITTED)
    assert dialect.receive(FIRST) == [Audio(b"\1\0" * 160, 0)]


def test_a_frame_that_an_admission_cuts_in_two_is_not_heard_by_its_halves():
    dialect, _ = opened()
    assert dialect.receive(FIRST[:100]) == []
    dialect.tell(ADMITTED)
    assert dialect.receive(FIRST[100:] + FIRST) == [Audio(b"\1\0" * 160, 0)]


def test_an_admission_without_an_opening_opens_nothing():
    dialect = AudioSocket()
    dialect.tell(ADMITTED)
    assert [type(each) for each in hear(dialect, [NAMED, FIRST, FIRST])] == [Opening]


# --- refused ---


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (FIRST, "uuid_missing"),
        (HANGUP, "uuid_missing"),
        (message(0x01, bytes(15)), "uuid_missing"),
        (message(0x01, bytes(17)), "uuid_missing"),
        (b"GET / HTTP/1.1\r\n\r\n", "uuid_missing"),
        ("text", "text_frame"),
        (NAMED + NAMED, "second_uuid"),
        (NAMED + message(0x10, bytes(3)), "audio_malformed"),
    ],
)
def test_what_is_no_audiosocket_is_refused(stream, reason):
    dialect = AudioSocket()
    assert dialect.receive(stream) == [Fault(errors.BAD_REQUEST, reason)]
    assert dialect.receive(NAMED) == dialect.receive(FIRST) == []


def test_another_rate_in_the_middle_of_a_call_is_refused_after_what_was_heard():
    dialect = admitted(0x12)
    heard = dialect.receive(message(0x12, b"\1\2") + FIRST + message(0x12, b"\3\4"))
    assert heard == [Audio(b"\1\2", 0), Fault(errors.BAD_REQUEST, "rate_changed")]


# --- told ---


def test_no_words_go_down_this_wire():
    final = wire.Final(1, 0, 100, "hello", "en", 0.9, [])
    assert admitted().tell(Said(0, final)) == []


@pytest.mark.parametrize(("refusal", "close_code"), [(None, 1000), (errors.UNAUTHENTICATED, 4401)])
def test_the_end_hangs_up_so_that_the_dialplan_goes_on(refusal, close_code):
    dialect = admitted()
    assert dialect.tell(Ended(refusal)) == [b"\0\0\0", Close(close_code)]
    assert dialect.receive(FIRST) == []


def test_what_keeps_a_call_alive_is_20_ms_of_silence_in_good_time():
    assert message(0x10, bytes(8000 // 50 * 2)) == KEEP_ALIVE
    assert 2 * KEEP_ALIVE_S <= 2.0


# --- any bytes ---


def test_a_stream_that_is_cut_at_every_byte_is_the_same():
    stream = b"".join([*frames(0x10, SPEECH), message(0x03, b"5"), HANGUP])
    heard = hear(admitted(), [bytes([byte]) for byte in stream])
    assert sound_of(heard) == SPEECH
    assert others_of(heard) == [Stopped()]
    one_by_one = AudioSocket()
    (opening,) = hear(one_by_one, [bytes([byte]) for byte in NAMED + FIRST])
    assert opening.ticket == TICKET


MESSAGES = st.one_of(
    st.builds(message, st.just(0x10), st.binary(max_size=8).map(lambda half: half * 2)),
    st.builds(
        message, st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x11, 0xFF]), st.binary(max_size=9)
    ),
    st.just(NAMED),
    st.binary(max_size=12),
)
STREAMS = st.lists(MESSAGES, max_size=8).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 200)))
def test_where_a_stream_is_cut_makes_no_difference(stream, places):
    for new in (AudioSocket, opened_named, admitted):
        whole = new().receive(stream)
        heard = hear(new(), cut(stream, places))
        assert sound_of(heard) == sound_of(whole)
        assert others_of(heard) == others_of(whole)


def opened_named():
    dialect = AudioSocket()
    assert dialect.receive(NAMED) == []
    return dialect


@given(
    st.lists(STREAMS | st.just(NAMED) | st.just(FIRST) | st.text(max_size=3) | st.just(ADMITTED))
)
def test_no_bytes_raise_and_no_audio_comes_before_the_admission_or_after_the_end(steps):
    dialect, heard, is_admitted = AudioSocket(), [], False
    for step in steps:
        if step is ADMITTED:
            is_admitted |= any(isinstance(value, Opening) for value in heard)
            assert dialect.tell(step) == []
            continue
        values = dialect.receive(step)
        assert is_admitted or not any(isinstance(value, Audio) for value in values)
        assert not values or not any(isinstance(value, Fault | Stopped) for value in heard)
        assert len(dialect._held) < 16
        heard += values
    assert sum(isinstance(value, Opening) for value in heard) <= 1
