"""Settings in, a client of Redis out that gives up in time and keeps no password.

The password is read for each connection, so that a new one in the file needs no restart. Commands
are never sent a second time: the scripts of `redis_subjects` count. Version 2 of Redis' protocol,
in which a connection with an answer left on it is known to be out of step and is never used again.
A certificate must be one of whom the settings trust, and of that very host.
"""

import asyncio
import ssl

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError
from typing_extensions import override

from security.errors import KekError, KeyFileError
from security.keks.sources import read_file, read_variable, without_newline
from server.start_error import EXIT_KEYS, EXIT_SETTINGS, StartError
from server.subject_settings import SubjectSettings, split_redis_url

_PORT = 6379
_MOST_CONNECTIONS = 16
"""More questions at a time wait for each other, a few milliseconds."""


class _Password(CredentialProvider):
    """Whom a connection logs in as."""

    def __init__(self, user: str | None, place: str) -> None:
        self._user = user
        self._place = place

    def read(self) -> str:
        """The password. Raises KekError or KeyFileError."""
        kind, _, name = self._place.partition(":")
        with read_file(name) if kind == "file" else read_variable(name) as secret:
            return bytes(without_newline(secret.expose())).decode("utf-8", "surrogateescape")

    @override
    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """See redis."""
        try:
            password = await asyncio.to_thread(self.read)
        except (KekError, KeyFileError):
            raise AuthenticationError("the password cannot be read") from None
        return (self._user, password) if self._user else (password,)


def open_redis_client(settings: SubjectSettings) -> Redis:
    """A client that connects when it is asked something. Raises StartError."""
    try:
        address = split_redis_url(settings.redis_url or "")
    except ValueError:
        raise StartError("subjects.redis_url: not the address of a Redis", EXIT_SETTINGS) from None
    credentials = None
    if settings.redis_password_from is not None:
        credentials = _Password(address.username, settings.redis_password_from)
        try:
            credentials.read()
        except (KekError, KeyFileError) as error:
            raise StartError(f"The password of Redis: {error}", EXIT_KEYS) from None
    pool = BlockingConnectionPool(
        max_connections=_MOST_CONNECTIONS,
        timeout=settings.answer_limit_s,
        host=address.hostname,
        port=address.port or _PORT,
        db=int(address.path[1:] or 0),
        credential_provider=credentials,
        socket_timeout=settings.answer_limit_s,
        socket_connect_timeout=settings.answer_limit_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **(_tls(settings) if address.scheme == "rediss" else {"connection_class": Connection}),
    )
    return Redis.from_pool(pool)


def _tls(settings: SubjectSettings) -> dict[str, object]:
    return {
        "connection_class": SSLConnection,
        "ssl_ca_certs": str(settings.redis_ca_file) if settings.redis_ca_file else None,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }
