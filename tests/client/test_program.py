"""The terminal program: what it prints, and how it ends."""

import json
import wave

import pytest

from client import line, program
from client.program import main
from server import wire
from tests.client.audio_files import write_call, write_wav
from tests.client.fake_server import (
    READY,
    TOKEN,
    deny,
    ended,
    fake_server_in_thread,
    final,
    partial,
    said,
    says,
    says_by_turns,
)
from tests.client.keeping_server import KeptSession, at_bytes, keeps, ready
from tests.client.programs import start_program


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("EARWITNESS_URL", raising=False)
    monkeypatch.setenv("EARWITNESS_TOKEN", TOKEN)


@pytest.fixture
def speech(tmp_path):
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(6400))
    return str(path)


def complaint(capsys):
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    assert err.count("\n") == 1
    return err


async def end_with_error(session):
    await session.hear_start()
    await session.say(READY, final(0, "so far"), wire.ErrorEvent("idle", "Nothing came.", False))
    await session.say(ended("idle"))


async def drop_line(session):
    await session.hear_start()
    await session.say(READY)
    session.socket.transport.abort()


def test_finals_are_printed_a_line_each(speech, capsys):
    script = says(partial(0, 0, "hel", "lo"), final(0, "Hello."), final(1, "Bye."))
    with fake_server_in_thread(script) as fake:
        wishes = ["--language", "en", "--end-of-speech-ms", "300", "--context", "Braun"]
        assert main([speech, "--url", fake.url, *wishes]) == 0
    assert capsys.readouterr() == ("Hello.\nBye.\n", "")
    assert fake.sessions[0].start == wire.Start(
        16_000, language="en", end_of_speech_ms=300, context="Braun", partials=False, resumable=True
    )


def test_events_are_printed_as_json_lines(speech, capsys):
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert main([speech, "--url", fake.url, "--fast", "--json"]) == 0
    kinds = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["ready", "final", "ended"]


def test_a_session_error_is_1_and_keeps_what_was_said(speech, capsys):
    with fake_server_in_thread(end_with_error) as fake:
        assert main([speech, "--url", fake.url]) == 1
    assert capsys.readouterr() == ("so far\n", "earwitness: Nothing came.\n")


def test_an_unreadable_file_is_2(tmp_path, capsys):
    assert main([str(tmp_path / "none.wav")]) == 2
    assert "No such file" in complaint(capsys)


def test_a_denied_handshake_is_3(speech, capsys):
    denial = deny(401, b'{"code":"unauthenticated","message":"No valid token."}')
    with fake_server_in_thread(denial=denial) as fake:
        assert main([speech, "--url", fake.url]) == 3
    assert complaint(capsys) == "earwitness: No valid token.\n"


def test_a_lost_connection_is_4(speech, capsys):
    with fake_server_in_thread(drop_line) as fake:
        assert main([speech, "--url", fake.url]) == 4
    assert "connection was lost" in complaint(capsys)


SESSION_GONE = deny(410, b'{"code":"session_gone","message":"Over."}')


def test_a_connection_that_breaks_is_mended_and_told_about(speech, monkeypatch, capsys):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)
    kept = KeptSession()
    with fake_server_in_thread(keeps(kept, at_bytes(1))) as fake:
        assert main([speech, "--url", fake.url]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("last words\n")
    assert err == (
        "earwitness: The connection broke. Trying to go on …\nearwitness: Connected again.\n"
    )
    assert kept.audio == bytes(6400)


@pytest.mark.parametrize("ending", ["txt", "srt", "ndjson"])
def test_what_was_heard_before_the_connection_was_lost_for_good_is_written(
    speech, tmp_path, monkeypatch, capsys, ending
):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)
    output = tmp_path / f"talk.{ending}"

    async def say_and_leave(session):
        await session.hear_start()
        await session.say(ready(), final(0, "so far"))
        await session.socket.recv()
        session.socket.transport.abort()

    with fake_server_in_thread(say_and_leave, denials=[None], denial=SESSION_GONE) as fake:
        assert main([speech, "--url", fake.url, "--output", str(output)]) == 4
    assert "so far" in output.read_text()
    assert "key" not in output.read_text()
    assert capsys.readouterr().err.splitlines()[-1] == (
        "earwitness: The connection was away for too long, and the session is over. "
        "The transcript so far is kept."
    )


def test_a_connection_that_is_lost_before_a_word_leaves_no_document(speech, tmp_path, capsys):
    with fake_server_in_thread(drop_line) as fake:
        assert main([speech, "--url", fake.url, "--output", str(tmp_path / "talk.txt")]) == 4
    assert not (tmp_path / "talk.txt").exists()
    assert "connection was lost" in complaint(capsys)


def test_without_resuming_a_break_is_4_at_once(speech, capsys):
    with fake_server_in_thread(drop_line) as fake:
        assert main([speech, "--url", fake.url, "--no-resume"]) == 4
    assert fake.sessions[0].start == wire.Start(16_000, partials=False)
    assert "connection was lost" in complaint(capsys)


def test_no_server_is_4(speech, capsys):
    with fake_server_in_thread() as fake:
        pass
    assert main([speech, "--url", fake.url]) == 4
    assert "connection refused" in complaint(capsys)


FULL = deny(503, b'{"code":"overloaded","message":"The server is full."}')


def test_a_file_waits_for_a_server_that_is_full(speech, monkeypatch, capsys):
    monkeypatch.setattr(program, "WAITS_S", (0.001, 0.002))

    async def refuse(session):
        await session.hear_start()
        await session.say(wire.ErrorEvent("shutting_down", "Connect again.", True), ended("x"))

    script = says_by_turns(refuse, says(final(0, "Hello.")))
    with fake_server_in_thread(script, denials=[FULL]) as fake:
        assert main([speech, "--url", fake.url]) == 0
    out, err = capsys.readouterr()
    assert out == "Hello.\n"
    assert err == (
        "earwitness: The server is full. Asking again in 0.001 s …\n"
        "earwitness: Connect again. Asking again in 0.002 s …\n"
    )
    assert fake.sessions[1].audio == bytes(6400)


def test_a_server_that_stays_full_is_given_up(speech, monkeypatch, capsys):
    monkeypatch.setattr(program, "WAITS_S", (0.001, 0.001))
    with fake_server_in_thread(denial=FULL) as fake:
        assert main([speech, "--url", fake.url]) == 3
    assert len(fake.requests) == 3
    assert capsys.readouterr().err.endswith("\nearwitness: The server is full.\n")


def test_a_session_that_fails_after_a_word_is_not_tried_again(speech, capsys):
    async def fail(session):
        await session.hear_start()
        await session.say(READY, final(0, "so far"), wire.ErrorEvent("internal", "Sorry.", True))
        await session.say(ended("internal"))

    with fake_server_in_thread(fail) as fake:
        assert main([speech, "--url", fake.url]) == 1
    assert capsys.readouterr() == ("so far\n", "earwitness: Sorry.\n")


def test_a_file_without_audio_is_2(tmp_path, capsys):
    assert main([str(write_wav(tmp_path / "none.wav", []))]) == 2
    assert "there is no audio in it" in complaint(capsys)


def test_settings_the_protocol_does_not_know_are_2(speech, capsys):
    assert main([speech, "--language", "English"]) == 2
    assert "settings" in complaint(capsys)


def test_without_a_token_it_is_2(speech, monkeypatch, capsys):
    monkeypatch.delenv("EARWITNESS_TOKEN")
    assert main([speech]) == 2
    assert "--token-file" in complaint(capsys)


def test_help_warns_of_tokens_on_the_command_line(monkeypatch, capsys):
    monkeypatch.setenv("EARWITNESS_URL", "wss://name:secret@host/")
    with pytest.raises(SystemExit):
        main(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "everybody on this machine can see it" in out
    assert "secret" not in out


def test_a_document_goes_to_standard_output_or_into_a_file(speech, tmp_path, capsys):
    output = tmp_path / "talk.srt"
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert main([speech, "--url", fake.url, "--format", "srt"]) == 0
        printed = capsys.readouterr()
        assert main([speech, "--url", fake.url, "--output", str(output)]) == 0
        assert capsys.readouterr() == ("", "")
        assert main([speech, "--url", fake.url, "--output", str(output)]) == 2
        assert "--force" in complaint(capsys)
        assert main([speech, "--url", fake.url, "--output", str(output), "--force"]) == 0
    assert printed == (output.read_text(), "")
    assert output.read_text().endswith("Hello.\n")
    assert len(fake.sessions) == 3


def test_events_can_go_into_a_file(speech, tmp_path, capsys):
    output = tmp_path / "talk.ndjson"
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert main([speech, "--url", fake.url, "--output", str(output)]) == 0
    kinds = [json.loads(line)["type"] for line in output.read_text().splitlines()]
    assert kinds == ["ready", "final", "ended"]
    assert capsys.readouterr().out == ""


def test_a_file_that_fails_leaves_no_document(speech, tmp_path, capsys):
    with fake_server_in_thread(end_with_error) as fake:
        assert main([speech, "--url", fake.url, "--output", str(tmp_path / "talk.txt")]) == 1
    assert not (tmp_path / "talk.txt").exists()
    assert "Nothing came." in complaint(capsys)


@pytest.mark.parametrize("pace", ["--fast", "--realtime"])
def test_a_call_is_printed_by_channel_in_order_by_time(tmp_path, pace, capsys):
    call = str(write_call(tmp_path / "call.wav"))
    script = says_by_turns(
        says(said(0, 0, 100, "Hello."), said(1, 300, 400, "Fine.")), says(said(0, 200, 250, "Hi!"))
    )
    with fake_server_in_thread(script) as fake:
        assert main([call, "--url", fake.url, pace, "--labels", "Agent,Caller"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == ["Agent: Fine.", "Agent: Hello.", "Caller: Hi!"]
    assert lines == ["Agent: Hello.", "Caller: Hi!", "Agent: Fine."] or pace == "--realtime"


def test_several_files_are_told_about_and_the_first_failure_decides(speech, tmp_path, capsys):
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert main([speech, str(tmp_path / "none.wav"), "--url", fake.url]) == 2
        assert main([speech, "--output-folder", str(tmp_path / "out"), "--url", fake.url]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[2] == "1 written, 1 failed."
    assert (tmp_path / "out" / "speech.txt").read_text() == "Hello.\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs recorders into a machine that has none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return install


def test_the_microphone_is_heard_and_a_recorder_that_gives_up_loses_no_words(
    install, tmp_path, capsys
):
    install("arecord", "printf '%0640d' 7; echo unplugged >&2; exit 1")
    output = tmp_path / "notes.txt"
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert main(["--microphone", "--url", fake.url, "--output", str(output)]) == 2
    assert output.read_text() == "Hello.\n"
    assert capsys.readouterr().err == "earwitness: arecord gave up: unplugged\n"
    assert fake.sessions[0].audio == b"0" * 639 + b"7"


def test_what_a_microphone_heard_is_kept_when_the_session_fails(install, tmp_path, capsys):
    install("arecord", "printf '%0640d' 7; exec /bin/sleep 60")
    output = tmp_path / "notes.txt"
    with fake_server_in_thread(end_with_error) as fake:
        assert main(["--microphone", "--url", fake.url, "--output", str(output)]) == 1
    assert output.read_text() == "so far\n"
    assert "Nothing came." in complaint(capsys)


def test_a_microphone_does_not_wait_for_a_full_server(install, capsys):
    install("arecord", "exec /bin/sleep 60")
    with fake_server_in_thread(denial=FULL) as fake:
        assert main(["--microphone", "--url", fake.url]) == 3
    assert len(fake.requests) == 1
    assert complaint(capsys) == "earwitness: The server is full.\n"


def test_devices_are_listed_without_a_token(install, monkeypatch, capsys):
    monkeypatch.delenv("EARWITNESS_TOKEN")
    install("arecord", "printf 'default\\n    Default device\\nhw:CARD=1\\n'")
    assert main(["--list-devices"]) == 0
    assert capsys.readouterr() == ("by arecord:\n  default\n  hw:CARD=1\n", "")


def test_raw_audio_from_a_pipe_arrives_whole():
    pcm = bytes(range(256)) * 25
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        running = start_program("-", "--rate", "8000", "--fast", "--url", fake.url)
        assert running.communicate(pcm, timeout=30) == (b"Hello.\n", b"")
    assert running.returncode == 0
    assert fake.sessions[0].start == wire.Start(8_000, resumable=True)
    assert fake.sessions[0].audio == pcm


def test_words_that_the_locale_cannot_write_are_no_failure(speech, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with fake_server_in_thread(says(final(0, "Café"))) as fake:
        running = start_program(speech, "--url", fake.url)
        assert running.communicate(timeout=30) == (b"Caf?\n", b"")
    assert running.returncode == 0


def test_a_reader_who_has_seen_enough_is_no_failure():
    async def talk(session):
        await session.hear_start()
        await session.say(READY)
        for segment in range(1000):
            await session.say(final(segment, "word " * 100))

    with fake_server_in_thread(talk) as fake:
        running = start_program("-", "--rate", "16000", "--json", "--url", fake.url)
        running.stdout.readline()
        running.stdout.close()
        err = running.stderr.read()
        running.wait(timeout=30)
        running.stdin.close()
        running.stderr.close()
    assert (running.returncode, err) == (0, b"")
