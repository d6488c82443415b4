"""A text frame from a stranger: a message, spelt again as it was meant, or refused."""

from server.wire import WireError, decode_client_message, encode

MAX_BYTES = 5_000  # the protocol takes 4096
SEEDS = [
    b'{"type":"start","sample_rate_hz":16000}',
    b'{"type":"start","sample_rate_hz":48000,"encoding":"pcm_s16le","language":"de",'
    b'"end_of_speech_ms":500,"partials":false,"context":"Erlk\\u00f6nig \xf0\x9f\x91\x91"}',
    b'{"type":"flush"}',
    b'{"type":"keep_alive"}',
    b'{"type":"stop"}',
    b'{"type":"resume","events":12}',
    b'{"type":"events_received","events":9007199254740992}',
    b"[" * 2000,
    b'{"type":"stop","type":"start"}',
]


def fuzz_wire_client(data: bytes) -> None:
    # the WebSocket layer hands on nothing but UTF-8
    frame = data.decode("utf-8", "replace")
    try:
        message = decode_client_message(frame)
    except WireError as refused:
        assert frame not in str(refused) or len(frame) < 4, "a refusal repeats the frame"
        return
    assert decode_client_message(encode(message)) == message
