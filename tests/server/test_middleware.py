"""Requests in; whose they are, what is logged of them, and what browsers are told, out."""

import pytest
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect
from structlog.testing import capture_logs

from server.figures import Figures
from server.forwarded import Networks
from server.middleware import surround
from tests.server.listening import UPGRADE, Site, listening

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
PROXY = {"trusted_proxies": ("127.0.0.1",)}


def with_lines(request: bytes, *lines: bytes) -> bytes:
    return request[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


async def answered(here, request):
    peer = await (await here.peer()).say(request)
    return (await peer.answer())[:2]


async def test_a_trusted_proxy_says_who_the_client_is_and_how_it_came():
    async with listening(**PROXY) as here:
        said = (b"X-Forwarded-For: 1.1.1.1, 192.0.2.7", b"X-Forwarded-Proto: https")
        status, head = await answered(here, with_lines(HELLO, *said))
        assert (status, here.site.clients) == (200, ["192.0.2.7"])
        assert b"strict-transport-security" in head


async def test_a_proxy_may_have_been_spoken_to_in_plain():
    async with listening(**PROXY) as here:
        _, head = await answered(here, with_lines(HELLO, b"X-Forwarded-Proto: http"))
        assert here.site.clients == ["127.0.0.1"]
        assert b"strict-transport-security" not in head


async def test_a_stranger_cannot_say_who_it_is():
    async with listening() as here:
        said = (b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: https")
        _, head = await answered(here, with_lines(HELLO, *said))
        assert here.site.clients == ["127.0.0.1"]
        assert b"strict-transport-security" not in head


async def test_a_denied_handshake_by_tls_is_told_of_it_too():
    sent = []

    async def deny(scope, receive, send):
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})

    async def send(message):
        sent.append(message)

    app = surround(deny, Networks([]), lambda: 0.0, Figures(), has_access_log=False)
    await app({"type": "websocket", "scheme": "wss", "client": None, "headers": []}, None, send)
    assert sent[0]["headers"] == [(b"strict-transport-security", b"max-age=31536000")]


async def logged(request: bytes, **given) -> dict:
    """The one line for a request."""
    async with listening(access_log=True, **given) as here:
        with capture_logs() as logs:
            peer = await (await here.peer()).say(request)
            await peer.hear(b"\r\n\r\n")
            peer.writer.close()
            await here.until(lambda: "request" in {line["event"] for line in logs})
        [line] = [line for line in logs if line["event"] == "request"]
        assert line.pop("duration_ms") >= 0
        return line


async def test_a_line_names_the_route_and_nothing_that_the_peer_wrote():
    request = HELLO.replace(b"/hello", b"/hello?token=s3cret").replace(b"x", b"s3cret.example")
    assert await logged(with_lines(request, b"Authorization: Bearer s3cret")) == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/hello",
        "status": 200,
        "client": "127.0.0.1",
        "session": None,
    }


@pytest.mark.parametrize(
    ("request_", "method", "route", "status"),
    [
        (HELLO.replace(b"GET", b"HEAD"), "HEAD", "/hello", 200),
        (HELLO.replace(b"GET", b"S3CRET"), "OTHER", "/hello", 405),
        (HELLO.replace(b"/hello", b"/s3cret"), "GET", None, 404),
        (HELLO.replace(b"/hello", b"/fault"), "GET", "/fault", 500),
        (UPGRADE, "WEBSOCKET", "/echo", 101),
        (UPGRADE.replace(b"/echo", b"/s3cret"), "WEBSOCKET", None, 403),
        (UPGRADE.replace(b"/echo", b"/fault"), "WEBSOCKET", "/fault", 500),
    ],
)
async def test_a_line_tells_what_came_of_it(request_, method, route, status):
    line = await logged(request_)
    assert (line["method"], line["route"], line["status"]) == (method, route, status)


async def test_behind_a_proxy_the_line_names_the_client():
    line = await logged(with_lines(HELLO, b"X-Forwarded-For: 192.0.2.7"), **PROXY)
    assert line["client"] == "192.0.2.7"


async def test_a_session_is_named_by_its_id():
    async def app(scope, receive, send):
        scope["state"]["session_id"] = "s-1"
        scope["route"] = type("Mount", (), {"path": ""})
        await send({"type": "websocket.http.response.start", "status": 429, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    line = await logged(UPGRADE, app=app)
    assert (line["session"], line["route"], line["status"]) == ("s-1", "/", 429)


@pytest.mark.parametrize("request_", [HELLO, UPGRADE])
async def test_a_fault_of_ours_is_logged_by_its_type_alone(request_, capfd):
    request = request_.replace(b"/hello", b"/fault").replace(b"/echo", b"/fault")
    async with listening() as here:
        with capture_logs() as logs:
            answer = await here.ask(request)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"words of a caller" not in answer
    assert [line | {"log_level": ""} for line in logs] == [
        {"event": "a request failed", "error": "LookupError", "log_level": ""}
    ]
    assert "words of a caller" not in "".join(capfd.readouterr())


async def test_a_peer_that_leaves_in_the_middle_is_no_fault(capfd):
    async with listening(site=(site := Site()), access_log=True) as here:
        with capture_logs() as logs:
            peer = await here.peer()
            await peer.say(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            await here.until(lambda: site.bodies)
            peer.writer.transport.abort()
            await here.until(lambda: logs)
    assert [(line["event"], line["status"]) for line in logs] == [("request", None)]
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    "host", [b"", b"evil.example", b"127.0.0.1:1/admin?x", b"[::1", b"x y", b"\xff"]
)
async def test_a_poisoned_host_header_leads_nowhere(host):
    async with listening() as here:
        request = HELLO.replace(b"Host: x", b"Host: " + host)
        answer = await here.ask(with_lines(request, b"Connection: close"))
        assert answer.split(b" ")[1] in {b"200", b"400"}
        assert b"evil.example" not in answer
        assert b"location" not in answer.lower()


async def test_a_session_whose_peer_left_was_a_session():
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise WebSocketDisconnect

    assert (await logged(UPGRADE, app=app))["status"] == 101


async def counted(kind: str, *messages: dict) -> Figures:
    """Of one request that an application answers so."""

    async def answer(scope, receive, send):
        scope["route"] = Route("/v1/stream", answer)
        for message in messages:
            await send(message)

    async def send(message):
        pass

    figures = Figures()
    app = surround(answer, Networks([]), lambda: 0.0, figures, has_access_log=False)
    await app({"type": kind, "scheme": "http", "client": None, "headers": []}, None, send)
    return figures


async def test_a_handshake_is_timed_once_by_whether_it_was_let_in():
    accept, close = {"type": "websocket.accept"}, {"type": "websocket.close", "code": 1000}
    figures = await counted("websocket", accept, close)
    assert sum(figures.handshake_s[True].counts) == 1
    assert figures.requests == {("/v1/stream", 101): 1}
    for denial in (close, {"type": "websocket.http.response.start", "status": 401, "headers": []}):
        figures = await counted("websocket", denial, {"type": "websocket.http.response.body"})
        assert sum(figures.handshake_s[False].counts) == 1
        assert sum(figures.handshake_s[True].counts) == 0


async def test_what_is_no_handshake_is_counted_and_not_timed():
    figures = await counted("http", {"type": "http.response.start", "status": 404, "headers": []})
    assert figures.requests == {("/v1/stream", 404): 1}
    assert not any(sum(each.counts) for each in figures.handshake_s.values())


async def test_who_goes_before_an_answer_is_counted_too():
    assert (await counted("http")).requests == {("/v1/stream", 0): 1}
