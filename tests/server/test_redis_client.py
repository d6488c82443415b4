"""Who is spoken to, with which password, and who is not."""

import datetime
from dataclasses import replace
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.exceptions import AuthenticationError, RedisError

from server.redis_client import open_redis_client
from server.start_error import StartError
from server.subject_settings import SubjectSettings
from tests.redis_server import RedisServer, needs_redis

PASSWORD = "p\u00e4ss word"  # noqa: S105 (of a server that lives for one test)


def password_file(tmp_path, password=PASSWORD):
    path = tmp_path / "redis.password"
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return path


async def answers(settings):
    client = open_redis_client(settings)
    try:
        return await client.ping()
    finally:
        await client.aclose()


@needs_redis
async def test_without_a_password(tmp_path):
    with RedisServer(tmp_path) as server:
        assert await answers(SubjectSettings(redis_url=server.url))


@needs_redis
async def test_with_a_password_from_a_file_that_is_read_for_each_connection(tmp_path):
    settings = SubjectSettings(redis_password_from=f"file:{password_file(tmp_path)}")
    with RedisServer(tmp_path, ["--requirepass", PASSWORD]) as server:
        client = open_redis_client(replace(settings, redis_url=server.url))
        assert await client.ping()
        await client.config_set("requirepass", "another")
        await client.connection_pool.disconnect()
        with pytest.raises(AuthenticationError):
            await client.ping()
        password_file(tmp_path, "another")
        assert await client.ping()
        (tmp_path / "redis.password").unlink()
        await client.connection_pool.disconnect()
        with pytest.raises(AuthenticationError, match="the password cannot be read"):
            await client.ping()
        await client.aclose()


@needs_redis
async def test_with_a_user_and_a_password_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_REDIS_PASSWORD", PASSWORD)
    user = ["--user", "ears", "on", f">{PASSWORD}", "~*", "+@all"]
    with RedisServer(tmp_path, [*user, "--requirepass", "other"]) as server:
        url = server.url.replace("redis://", "redis://ears@")
        place = "env:EARWITNESS_REDIS_PASSWORD"
        settings = SubjectSettings(redis_url=url, redis_password_from=place)
        assert await answers(settings)


@pytest.mark.parametrize("place", ["env:EARWITNESS_NOWHERE", "file:nowhere/redis.password"])
def test_a_password_that_is_not_there_is_said_at_the_start(place):
    with pytest.raises(StartError, match="password of Redis"):
        open_redis_client(SubjectSettings(redis_url="redis://127.0.0.1", redis_password_from=place))


def test_a_password_file_that_others_can_read_is_refused(tmp_path):
    path = password_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(StartError, match="password of Redis") as refused:
        open_redis_client(
            SubjectSettings(redis_url="redis://127.0.0.1", redis_password_from=f"file:{path}")
        )
    assert PASSWORD not in str(refused.value)


def test_without_an_address_there_is_nobody_to_speak_to():
    with pytest.raises(StartError, match="not the address"):
        open_redis_client(SubjectSettings())


def certificate(folder, name, host):
    """A key, and a certificate for `host` that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    path.write_bytes(signed.public_bytes(pem))
    nothing = serialization.NoEncryption()
    key_path.touch(mode=0o600)
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, nothing))
    return path, key_path


def tls_server(tmp_path, host="127.0.0.1"):
    path, key_path = certificate(tmp_path, "server", host)
    options = ["--tls-cert-file", str(path), "--tls-key-file", str(key_path)]
    options += ["--tls-ca-cert-file", str(path), "--tls-auth-clients", "no"]
    return RedisServer(tmp_path, options, has_tls=True), path


@needs_redis
async def test_with_tls_and_whom_the_settings_trust(tmp_path):
    server, path = tls_server(tmp_path)
    with server:
        assert await answers(SubjectSettings(redis_url=server.url, redis_ca_file=path))


@needs_redis
async def test_a_certificate_of_somebody_else_is_refused(tmp_path):
    server, _ = tls_server(tmp_path)
    other, _ = certificate(tmp_path, "other", "127.0.0.1")
    with server:
        for trusted in (other, None):
            with pytest.raises((RedisError, OSError)):
                await answers(SubjectSettings(redis_url=server.url, redis_ca_file=trusted))


@needs_redis
async def test_a_certificate_for_another_host_is_refused(tmp_path):
    server, path = tls_server(tmp_path, "127.0.0.2")
    with server, pytest.raises((RedisError, OSError)):
        await answers(SubjectSettings(redis_url=server.url, redis_ca_file=path))


@needs_redis
async def test_tls_is_not_spoken_to_who_does_not_speak_it(tmp_path):
    with RedisServer(tmp_path) as server, pytest.raises((RedisError, OSError)):
        await answers(SubjectSettings(redis_url=server.url.replace("redis:", "rediss:")))
