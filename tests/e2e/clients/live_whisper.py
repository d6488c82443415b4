"""WhisperLive's own clients: a file or samples in, what they were told and kept out."""

import base64
import json
import sys
import time

from websocket import WebSocketConnectionClosedException
from whisper_live.client import Client, StreamingTranscriptionClient, TranscriptionTeeClient

CHUNK_BYTES = 3200


def report(**said):
    print(json.dumps(said), flush=True)


def transcribe_file(address, path, srt_path, options):
    """As `TranscriptionClient` does, which has no word for how often it may come back."""

    def hear(text, segments):
        report(text=text, segments=segments)

    client = Client(
        *address,
        srt_file_path=srt_path,
        transcription_callback=hear,
        max_retries=3,
        retry_delay=0,
        **options,
    )
    client.disconnect_if_no_response_for = 5
    try:
        TranscriptionTeeClient([client], mute_audio_playback=True)(path)
    except WebSocketConnectionClosedException:  # it says that the audio ends in any case
        report(closed=True)
    kept = [segment["text"].strip() for segment in client.transcript]
    error = str(getattr(client, "error_message", ""))
    report(kept=kept, error=error, is_over_time=client._server_disconnect)


def transcribe_stream(address, pcm, options, chunk_bytes):
    client = StreamingTranscriptionClient(
        *address,
        on_partial_transcript=lambda text, _: report(partial=text),
        on_committed_transcript=lambda text, _: report(committed=text),
        on_error=lambda error: report(error=str(error)),
        **options,
    )
    try:
        with client:
            for start in range(0, len(pcm), chunk_bytes):
                client.send(pcm[start : start + chunk_bytes])
                time.sleep(0.05)
    except RuntimeError as error:
        report(refused=str(error))
    report(kept=[segment["text"].strip() for segment in client.transcript])


if __name__ == "__main__":
    given = json.load(sys.stdin)
    if "path" in given:
        transcribe_file(given["address"], given["path"], given["srt_path"], given["options"])
    else:
        pcm, chunk_bytes = base64.b64decode(given["pcm"]), given.get("chunk_bytes", CHUNK_BYTES)
        transcribe_stream(given["address"], pcm, given["options"], chunk_bytes)
