"""What other servers say, as the load bench sees it."""

import json

from websockets.asyncio.server import serve

from bench.speakers import WhisperLive, WhisperLiveKit


async def sights_of(speaker_of, script):
    """What a speaker saw of a server that plays `script`."""
    async with serve(script, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        speaker = speaker_of(f"ws://127.0.0.1:{port}/")
        await speaker.open()
        await speaker.send(b"\x00\x40" * 320)
        await speaker.finish()
    return [(sight.settled.split(), sight.shown.split()) for sight in speaker.sights]


def segment(start, end, text, is_completed):
    return {"start": f"{start:.3f}", "end": f"{end:.3f}", "text": text, "completed": is_completed}


async def test_completed_segments_are_settled_once_and_the_open_one_is_shown(monkeypatch):
    monkeypatch.setattr("bench.speakers.QUIET_S", 0.2)

    async def script(socket):
        uid = json.loads(await socket.recv())["uid"]
        await socket.send(json.dumps({"uid": uid, "message": "SERVER_READY"}))
        assert len(await socket.recv()) == 320 * 4
        for segments in (
            [segment(0, 1, " hello", False)],
            [segment(0, 1, " hello", True), segment(1, 2, " wor", False)],
            [segment(0, 1, " hello", True), segment(1, 2, " wor", False)],
            [segment(0, 1, " hello", True), segment(1, 2, " world", True)],
        ):
            await socket.send(json.dumps({"uid": uid, "segments": segments}))
        await socket.wait_closed()

    assert await sights_of(WhisperLive, script) == [
        ([], ["hello"]),
        (["hello"], ["hello", "wor"]),
        (["hello", "world"], ["hello", "world"]),
    ]


async def test_lines_are_settled_and_the_buffer_is_shown():
    async def script(socket):
        await socket.send('{"type":"config"}')
        assert len(await socket.recv()) == 320 * 2
        lines = [{"text": "hello"}, {"text": None}]
        await socket.send(json.dumps({"lines": [], "buffer_transcription": "hel"}))
        await socket.send(json.dumps({"lines": lines, "buffer_transcription": " wor"}))
        assert await socket.recv() == b""
        await socket.send('{"type":"ready_to_stop"}')
        await socket.wait_closed()

    assert await sights_of(WhisperLiveKit, script) == [
        ([], ["hel"]),
        (["hello"], ["hello", "wor"]),
    ]


async def test_a_server_that_goes_away_ends_a_stream_and_not_the_bench():
    async def script(socket):
        await socket.send('{"type":"config"}')
        await socket.close(1011)

    assert await sights_of(WhisperLiveKit, script) == []
