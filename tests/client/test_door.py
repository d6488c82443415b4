"""The handshake: who is let through, what a denial says, and that the token stays secret."""

import asyncio
import datetime
import logging
import ssl
import traceback
from contextlib import asynccontextmanager, suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from client import door
from client.door import open_socket
from client.errors import (
    ClientError,
    ConnectionLostError,
    RefusedError,
    SessionError,
    UnusableError,
)
from tests.client.fake_server import TOKEN, deny, fake_server


async def failure_of(url, token=TOKEN):
    with pytest.raises(ClientError) as caught:
        async with open_socket(url, token):
            pytest.fail("the door is open")
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert token not in text
    return caught.value


async def denied(denial):
    async with fake_server(denial=denial) as fake:
        return await failure_of(fake.url)


async def test_the_token_travels_in_the_header_and_nowhere_else():
    async with fake_server() as fake, open_socket(fake.url, TOKEN) as socket:
        assert socket.subprotocol == "earwitness.v1"
    (request,) = fake.requests
    assert request.path == "/v1/stream"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Sec-WebSocket-Protocol"] == "earwitness.v1"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert "User-Agent" not in request.headers


async def test_the_token_is_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "websockets.client")  # given back when the test ends
    caplog.set_level(logging.INFO, "websockets.server")
    async with fake_server() as fake, open_socket(fake.url, TOKEN):
        pass
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_denial_carries_the_servers_code_and_text(status):
    error = await denied(deny(status, b'{"code":"some_code","message":"Do that.","more":1}'))
    assert isinstance(error, RefusedError)
    assert (error.code, error.message, error.http_status) == ("some_code", "Do that.", status)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":1}', b"\xff\xfe", b"[" * 5000])
async def test_a_denial_without_a_code_is_named_after_its_status(body):
    error = await denied(deny(403, body))
    assert isinstance(error, RefusedError)
    assert (error.code, error.http_status) == ("http_403", 403)


async def test_a_denial_that_repeats_the_token_is_cleaned():
    body = f'{{"code":"unauthenticated","message":"bad {TOKEN}"}}'.encode()
    error = await denied(deny(401, body))
    assert str(error) == "bad …"


@pytest.mark.parametrize("target", ["ws://127.0.0.2:9/v1/stream", "wss://127.0.0.1:9/", "/other"])
async def test_no_redirect_gets_the_client_elsewhere(target):
    assert isinstance(await denied(deny(302, b"", Location=target)), ConnectionLostError)


async def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    for name in ("http_proxy", "https_proxy", "ws_proxy", "socks_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with fake_server() as fake, open_socket(fake.url, TOKEN) as socket:
        assert socket.subprotocol == "earwitness.v1"


async def test_a_server_of_another_protocol_is_left():
    async with fake_server(subprotocols=None) as fake:
        error = await failure_of(fake.url)
    assert isinstance(error, SessionError)
    assert error.code == "wrong_protocol"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://localhost/v1/stream",
        "ws://",
        "ws://:80/",
        "ws://host:notaport/",
        "ws://host:99999/",
        "ws://[::1/",
        "ws://host/#fragment",
        "ws://name:secret@host/",
        "ws://host/v1/stream?access_token=secret",
    ],
)
async def test_an_address_that_is_none_or_holds_secrets_is_refused(url):
    error = await failure_of(url)
    assert isinstance(error, UnusableError)
    assert "secret" not in str(error)


@pytest.mark.parametrize("token", ["two words!", "a\r\nX-Evil: 1", "ä", "x" * 8193])
async def test_what_cannot_be_a_token_is_refused(token):
    assert isinstance(await failure_of("ws://127.0.0.1:9/", token), UnusableError)


async def test_an_empty_token_is_refused():
    with pytest.raises(UnusableError):
        async with open_socket("ws://127.0.0.1:9/", ""):
            pytest.fail("the door is open")


@pytest.mark.parametrize(
    ("port", "url"), [(80, "ws://host/"), (443, "wss://host/"), (8765, "ws://host:8765/")]
)
def test_the_port_follows_from_the_address(port, url):
    assert door.check_url(url) == ("host", port)


async def test_where_nobody_listens_there_is_no_connection():
    async with fake_server() as fake:
        url = fake.url
    error = await failure_of(url)
    assert isinstance(error, ConnectionLostError)
    assert str(error) == "Could not reach the server: connection refused."


async def test_a_name_that_does_not_exist_is_no_connection():
    error = await failure_of("ws://nowhere.invalid:9/")
    assert isinstance(error, ConnectionLostError)


@asynccontextmanager
async def raw_server(greeting, *, hangs_up=False):
    """A port that greets and does no more."""
    is_done = asyncio.Event()

    async def reply(reader, writer):
        writer.write(greeting)
        if not hangs_up:
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        is_done.set()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await is_done.wait()


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("ws", "What answered there is no WebSocket server."),
        ("wss", "Could not reach the server: TLS failed."),
    ],
)
async def test_something_that_is_no_websocket_is_no_connection(scheme, message):
    async with raw_server(b"220 mail ready\r\n") as address:
        assert str(await failure_of(f"{scheme}://{address}")) == message


async def test_a_handshake_without_an_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(door, "OPEN_TIMEOUT_S", 0.05)
    async with raw_server(b"") as address:
        error = await failure_of(f"ws://{address}")
    assert str(error) == "Could not reach the server: no answer in time."


async def test_a_server_that_hangs_up_is_no_connection():
    async with raw_server(b"", hangs_up=True) as address:
        error = await failure_of(f"wss://{address}")
    assert str(error) == "Could not reach the server: it hung up."


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path / "server.pem"))
    async with fake_server(ssl=context) as fake:
        error = await failure_of(fake.url.replace("ws:", "wss:"))
    assert "certificate is not trusted" in str(error)


def write_certificate(path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


@pytest.mark.parametrize(
    ("status", "path", "has_hint"),
    [
        (403, "/", True),
        (404, "/stream", True),
        (403, "/v1/stream", False),
        (500, "/", False),
    ],
)
async def test_who_may_have_the_wrong_path_is_told_the_usual_one(status, path, has_hint):
    async with fake_server(denial=deny(status, b"")) as fake:
        error = await failure_of(fake.url.removesuffix("/v1/stream") + path)
    assert isinstance(error, RefusedError)
    assert ("usually ends in /v1/stream" in str(error)) == has_hint
