"""Calls of providers that speak as Twilio does, from a simulated provider to whoever follows them,
with the real model.
"""

import asyncio
import json
import urllib.request
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus

from server.config import load_settings
from tests.e2e.calls import (
    bridge_url,
    bridges_in,
    follow,
    narrow_pcm_of,
    said_by,
    signed,
    stream_in,
    until_last,
)
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import words_of
from tests.server.dialects.media_simulator import SimulatedCall, TimedFrame, frames_of


@pytest.fixture(scope="module")
def call_server(embedded_model_pack, tmp_path_factory, canaries):
    folder = tmp_path_factory.mktemp("calls")
    copy_data(embedded_model_pack, folder / "data")
    settings = load_settings(
        data_folder=folder / "data",
        listen={"port": 0, "access_log": False},
        bridges=bridges_in(folder),
        calls={"rejoin_s": 0.5, "wait_s": 8.0},
        refusals={"rows_per_minute": 2000, "most_rows_per_minute": 20_000},
    )
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


@pytest.fixture(scope="module")
def parties(english_recordings):
    """Two who say different things."""
    by_name = {recording.name: recording for recording in english_recordings}
    return {"inbound": by_name["hello_world"], "outbound": by_name["quick_brown_fox"]}


def pcm_of(parties):
    return {name: narrow_pcm_of(recording) for name, recording in parties.items()}


async def called(server, call, parties, name="twilio", headers=None, **options):
    """The close code that the provider got, and what a follower read."""
    headers = signed() if headers is None else headers
    frames = frames_of(call, pcm_of(parties))
    following = asyncio.create_task(follow(server, call.call_id))  # noqa: TID251 (awaited below)
    code = await stream_in(bridge_url(server, name), frames, headers, **options)
    return code, await following


def token_in(server, **claims):
    return {"token": server.token(**claims)}


async def test_both_parties_of_a_twilio_call_are_read_apart(call_server, parties):
    call = SimulatedCall(call_id="CA1", parameters=token_in(call_server), digits="4111")
    code, events = await called(call_server, call, parties)
    assert code in {0, 1000}
    assert said_by(events, "customer") == words_of(parties["inbound"].text)
    assert said_by(events, "agent") == words_of(parties["outbound"].text)
    assert events[0]["type"] == "call_started"
    assert events[-1]["type"] == "call_ended"
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    started, ended = call_server.last_row("call.started"), call_server.last_row("call.ended")
    assert started.detail["call_id"] == "CA1"
    assert started.detail["roles"] == "customer agent"
    assert (ended.detail["n_tracks"], ended.detail["lost_frames"]) == (2, 0)
    row = call_server.last_row("session.ended")
    assert row.session_id == started.session_id


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"most_overtaking_chunks": 3}, id="shuffled"),
        pytest.param({"duplicate_share": 0.2}, id="duplicated"),
        pytest.param({"burst_ms": 400}, id="bursts"),
        pytest.param({"is_silence_sent": False}, id="no silence"),
        pytest.param({"is_number_text": False}, id="numbers as numbers"),
        pytest.param({"has_unknown_events": True}, id="unknown events"),
        pytest.param({"is_stop_sent": False}, id="no stop"),
        pytest.param({"is_hung_up": False}, id="no close"),
        pytest.param({"is_stop_sent": False, "is_number_text": False, "seed": 3}, id="hung up"),
    ],
)
async def test_what_goes_wrong_on_the_way_costs_no_word(call_server, parties, trouble, request):
    call_id = "CA" + request.node.callspec.id.replace(" ", "-")
    call = SimulatedCall(call_id=call_id, parameters=token_in(call_server), **trouble)
    _, events = await called(call_server, call, parties)
    assert said_by(events, "customer") == words_of(parties["inbound"].text)
    assert said_by(events, "agent") == words_of(parties["outbound"].text)


async def test_frames_that_are_lost_are_counted_and_the_rest_is_heard(call_server, parties):
    call = SimulatedCall(
        call_id="CA-lost", parameters=token_in(call_server), drop_share=0.02, seed=1
    )
    _, events = await called(call_server, call, parties)
    assert len(said_by(events, "agent")) >= len(words_of(parties["outbound"].text)) - 3
    assert call_server.last_row("call.ended").detail["lost_frames"] > 0


async def test_a_telnyx_call_shows_its_token_in_the_vendors_header(call_server, parties):
    token = call_server.token()
    call = SimulatedCall(flavour="telnyx", call_id="v2-telnyx", connected_token=token)
    headers = {"x-telnyx-streaming-auth-token": token}
    _, events = await called(call_server, call, parties, "telnyx", headers)
    assert said_by(events, "customer") == words_of(parties["inbound"].text)
    assert said_by(events, "agent") == words_of(parties["outbound"].text)
    detail = call_server.last_row("call.started").detail
    assert len(detail["caller"]) == 16
    assert detail["caller"] != detail["callee"]
    assert "+1555" not in json.dumps(detail)


async def test_a_call_without_an_own_signature_never_begins(call_server):
    for headers, reason in (
        ({}, "signature_missing"),
        (signed(auth_token="f" * 32), "signature_wrong"),
        (signed("wss://elsewhere.example/v1/bridges/twilio"), "signature_wrong"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await stream_in(bridge_url(call_server, "twilio"), [], headers)
        assert refused.value.response.status_code == 401
        assert call_server.last_row("handshake.refused").reason == reason


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        pytest.param(lambda server: {}, "token_missing", id="missing"),
        pytest.param(lambda server: token_in(server, age_s=-700), "token_expired", id="expired"),
        pytest.param(lambda server: {"token": "a.b.c"}, "token_malformed", id="nonsense"),
        pytest.param(
            lambda server: token_in(server, scopes={"calls"}), "scope_missing", id="of a reader"
        ),
    ],
)
async def test_a_call_whose_token_is_not_good_is_closed_and_nothing_of_it_is_heard(
    call_server, parties, parameters, reason
):
    call = SimulatedCall(call_id="CA-bad", parameters=parameters(call_server), is_hung_up=False)
    before = len(call_server.trail(event="session.started"))
    frames = frames_of(call, pcm_of(parties))[:4]
    code = await stream_in(bridge_url(call_server, "twilio"), frames, signed())
    assert code in {4401, 4403}
    assert call_server.last_row("handshake.refused").reason == reason
    assert len(call_server.trail(event="session.started")) == before


async def test_a_token_that_comes_too_late_is_no_token(call_server, parties):
    connected = frames_of(SimulatedCall(), pcm_of(parties))[0]
    began_s = asyncio.get_running_loop().time()
    code = await stream_in(bridge_url(call_server, "twilio"), [connected], signed())
    assert code == 4408
    assert 4 < asyncio.get_running_loop().time() - began_s < 15


async def test_a_flood_before_the_token_is_cut_off(call_server):
    frames = [TimedFrame(0.0, json.dumps({"event": "weather", "n": n})) for n in range(20)]
    assert await stream_in(bridge_url(call_server, "twilio"), frames, signed()) == 4401


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        pytest.param("{", 4400, "frame_malformed", id="not a frame"),
        pytest.param(" " * 70_000, 1009, "message_too_big", id="too big for a bridge"),
        pytest.param(" " * 300_000, 1009, "message_too_big", id="too big for the server"),
    ],
)
async def test_a_call_that_is_ended_for_a_frame_is_heard_until_then_and_says_why(
    call_server, parties, frame, code, reason, request
):
    call_id = f"CA-frame-{request.node.callspec.id.replace(' ', '-')}"
    call = SimulatedCall(call_id=call_id, parameters=token_in(call_server), is_hung_up=False)
    frames = frames_of(call, pcm_of(parties))[:-1]
    frames.append(TimedFrame(frames[-1].at_ms, frame))
    following = asyncio.create_task(follow(call_server, call_id))  # noqa: TID251
    assert await stream_in(bridge_url(call_server, "twilio"), frames, signed()) == code
    assert said_by(await following, "customer") == words_of(parties["inbound"].text)
    await until_last(call_server, "call.ended", lambda row: row.detail["call_id"] == call_id)
    assert call_server.last_row("call.ended").reason == reason
    of_session = call_server.last_row("session.ended")
    assert of_session.reason == {4400: "bad_request"}.get(code, reason)
    assert of_session.detail["close_code"] == code


async def test_a_frame_that_is_too_big_is_refused_on_record_before_the_call_begins(call_server):
    frames = [TimedFrame(0.0, " " * 300_000)]
    assert await stream_in(bridge_url(call_server, "twilio"), frames, signed()) == 1009
    await until_last(call_server, "handshake.refused", lambda row: row.reason == "message_too_big")


async def test_a_server_that_stops_tells_who_follows_a_call_the_last_words_and_the_end(
    embedded_model_pack, canaries, parties, tmp_path
):
    copy_data(embedded_model_pack, tmp_path / "data")
    update = {"data_folder": tmp_path / "data", "bridges": bridges_in(tmp_path)}
    settings = load_settings(
        listen={"port": 0, "access_log": False}, calls={"rejoin_s": 30.0}, **update
    )
    with ExitStack() as stack:
        server = stack.enter_context(serving(settings))
        server.mark = canaries.mark_token
        call = SimulatedCall(call_id="CA-stop", parameters=token_in(server), is_stop_sent=False)
        frames = frames_of(call, pcm_of(parties))[:-1]
        following = asyncio.create_task(follow(server, "CA-stop"))  # noqa: TID251 (awaited below)
        speaking = asyncio.create_task(  # noqa: TID251 (awaited below)
            stream_in(bridge_url(server, "twilio"), frames, signed())
        )
        await until_last(server, "call.watched", lambda row: row.detail["call_id"] == "CA-stop")
        await asyncio.sleep(1.5)
        await asyncio.to_thread(stack.close)
        events = await following
        assert await speaking == 1012
    assert [event["type"] for event in events[-2:]] == ["track_ended", "call_ended"]
    assert events[-1]["reason"] == "shutting_down"
    assert said_by(events, "customer") == words_of(parties["inbound"].text)


async def test_a_bridge_that_is_not_there_says_so(call_server):
    with pytest.raises(InvalidStatus) as refused:
        await stream_in(bridge_url(call_server, "twillio"), [], signed())
    response = refused.value.response
    assert (response.status_code, json.loads(response.body)["code"]) == (404, "not_found")


async def test_a_ticket_opens_one_call(call_server, parties):
    """In the address, for who can set no header."""
    token = call_server.token()
    ticket = await asyncio.to_thread(ticket_of, call_server, token)
    url = bridge_url(call_server, "telnyx") + f"?ticket={ticket}"
    call = SimulatedCall(flavour="telnyx", call_id="v2-ticket")
    frames = frames_of(call, pcm_of(parties))
    following = asyncio.create_task(follow(call_server, "v2-ticket"))  # noqa: TID251
    await stream_in(url, frames, {})
    assert said_by(await following, "customer") == words_of(parties["inbound"].text)
    with pytest.raises(InvalidStatus) as refused:
        await stream_in(url, frames, {})
    assert refused.value.response.status_code == 401


def ticket_of(server, token):
    request = urllib.request.Request(  # noqa: S310 (loopback)
        server.page_url + "/v1/tickets",
        data=b"{}",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return json.loads(response.read())["ticket"]


async def test_nobody_else_reads_a_call(call_server, parties):
    call = SimulatedCall(call_id="CA-private", parameters=token_in(call_server, subject="pbx"))
    frames = frames_of(call, pcm_of(parties))
    following = asyncio.create_task(follow(call_server, "CA-private", subject="pbx"))  # noqa: TID251
    prying = asyncio.create_task(follow(call_server, "CA-private", subject="mallory"))  # noqa: TID251
    await stream_in(bridge_url(call_server, "twilio"), frames, signed())
    assert any(event["type"] == "final" for event in await following)
    assert [event["code"] for event in await prying] == ["call_unknown"]
