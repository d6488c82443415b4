"""Frames from a hostile server: the client keeps its terminal, its memory and its temper."""

import io
from os import terminal_size

from client.captions import Captions
from client.conversation import MAX_UNREAD_EVENTS, Conversation
from client.transcript import Transcript
from server.wire import Start

MAX_BYTES = 4_096
_READY = (
    b'{"type":"ready","session_id":"s","model":"m","language":null,"end_of_speech_ms":400,'
    b'"limits":{"audio_ms":null,"bytes":null,"expires_in_s":600}}'
)
_USAGE = b'"usage":{"bytes":1,"audio_ms":1,"speech_ms":1,"segments":1}}'
SEEDS = [
    b"\n".join(
        (
            _READY,
            b'{"type":"speech_started","segment":0,"start_ms":0}',
            b'{"type":"partial","segment":0,"revision":1,"start_ms":0,"end_ms":9,"stable":"",'
            b'"unstable":"the \xe7\x8b\x90 fox"}',
            b'{"type":"speech_ended","segment":0,"end_ms":900}',
            b'{"type":"final","segment":0,"start_ms":0,"end_ms":900,"text":"the fox","language":'
            b'"en","confidence":0.5,"words":[{"text":"the","start_ms":0,"end_ms":9,'
            b'"confidence":1}]}',
            b'{"type":"ended","reason":"stopped",' + _USAGE,
        )
    ),
    _READY + b'\n{"type":"error","code":"idle","message":"\\u001b[2J\\u202e","is_retryable":true}',
    _READY + b'\n{"type":"partial","segment":-1,"revision":-1,"start_ms":-9,"end_ms":-1,'
    b'"stable":"\\u0007\\u0300","unstable":"\\ud83d\\ude00"}',
    b'{"type":"ended","reason":"x",' + _USAGE,
    b"[" * 2000,
]
_ESCAPES = ("\x1b[2m", "\x1b[22m", "\x1b[K", "\x1b[J")


def fuzz_server_events(data: bytes) -> None:
    conversation, transcript, out = Conversation(Start(sample_rate_hz=16_000)), Transcript(), _Out()
    captions = Captions(out, is_terminal=True, size=lambda: terminal_size((40, 10)))
    for index, frame in enumerate(data.split(b"\n")):
        text = frame.decode("utf-8", "replace")
        conversation.receive_frame(text if index % 8 else frame)
        if index % 3 == 0:  # a reader who is slow
            continue
        _read(conversation, transcript, captions)
    conversation.receive_close(1006)
    assert conversation.is_over
    assert len(conversation._unread) <= MAX_UNREAD_EVENTS
    _read(conversation, transcript, captions)
    captions.close(transcript)
    assert conversation.failure is None or str(conversation.failure).isprintable()


def _read(conversation: Conversation, transcript: Transcript, captions: Captions) -> None:
    while (event := conversation.take_event()) is not None:
        transcript.receive_event(event)
        captions.show(transcript)


class _Out(io.StringIO):
    """A terminal that wants nothing of a server's own escapes."""

    def write(self, text: str) -> int:
        bare = text
        for own in (*_ESCAPES, *(f"\x1b[{rows}A" for rows in range(1, 10))):
            bare = bare.replace(own, "")
        assert all(char.isprintable() or char in "\r\n\u200c\u200d" for char in bare)
        return len(text)
