"""What end-to-end tests of OpenAI's clients share: its client, audio as it wants it, and the words
of the native protocol for it."""

import base64

import miniaudio
from openai import AsyncOpenAI

from tests.e2e.test_stream import converse, pcm_of, text_of, words_of
from tests.fakes import silence

TRANSCRIPTION = {"intent": "transcription"}
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
CHUNK_MS = 50


def client_of(server, key=None, kind=AsyncOpenAI):
    return kind(base_url=f"{server.page_url}/v1", api_key=key or server.token(), max_retries=0)


def wide_pcm_of(recording, silence_ms=1000) -> bytes:
    """24 kHz."""
    samples = miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=24_000).samples
    return samples.tobytes() + bytes(24 * 2 * silence_ms)


def chunks_of(pcm: bytes, bytes_per_ms=48):
    for start in range(0, len(pcm), CHUNK_MS * bytes_per_ms):
        yield base64.b64encode(pcm[start : start + CHUNK_MS * bytes_per_ms]).decode()


def session_of(format_name="audio/pcm", turn_detection=None, **more):
    rate = {"rate": 24_000} if format_name == "audio/pcm" else {}
    audio_input = {
        "format": {"type": format_name, **rate},
        "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
        "turn_detection": turn_detection,
    }
    return {"type": "transcription", "audio": {"input": audio_input}, **more}


VAD = {"type": "server_vad", "silence_duration_ms": 500}


def g711_of(recording, law: str) -> bytes:
    samples = miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=8_000).samples
    encoder = {"audio/pcmu": mulaw_of, "audio/pcma": alaw_of}[law]
    return bytes(encoder(sample) for sample in [*samples, *([0] * 8_000)])


def mulaw_of(sample: int) -> int:
    """ITU-T G.711."""
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, 32_635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> exponent + 3) & 15) & 0xFF


def alaw_of(sample: int) -> int:
    """ITU-T G.711."""
    sign, magnitude = (0, ~sample) if sample < 0 else (0x80, sample)
    exponent = max(magnitude.bit_length() - 8, 0)
    return (sign | exponent << 4 | (magnitude >> (exponent + 3 if exponent else 4)) & 15) ^ 0x55


def encoded(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()


def sessions_of(server, subject: str) -> int:
    return sum(row.subject == subject for row in server.trail(event="session.started"))


async def native_words_of(server, recording) -> list[str]:
    _, events = await converse(server, pcm_of(recording) + silence(1000))
    return words_of(text_of(events))
