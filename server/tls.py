"""Files of a certificate and its key in, what connections are secured with out, for as long as
the files are good.

When the files change they are read again, so that a certificate is renewed without a restart; a
connection keeps what it began with. A new pair that cannot be used is told of once, and the old
one stays. They are read only after they have been left alone from one look to the next, since
whoever renews them writes one after the other. The key must be closed to other accounts and
without a passphrase: a passphrase beside it would keep nobody out.
"""

import ssl
from pathlib import Path

import structlog

from security.errors import KeyFileError
from security.keys import read_checked
from security.secret import SecretBytes

_log = structlog.get_logger()
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all good. Every one has forward secrecy and is authenticated."""

_Looks = tuple[tuple[int, int, int] | None, ...]


class Certificate:
    """The pair in use."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Raises KeyFileError."""
        self._cert_file, self._key_file = cert_file, key_file
        self._seen = self._used = self._look()
        self.context = self._open()
        """For the next connection."""

    def reload_if_changed(self) -> None:
        """Look again; call it every second or so."""
        seen, self._seen = self._seen, self._look()
        if self._seen == self._used or seen != self._seen:
            return
        self._used = self._seen
        try:
            self.context = self._open()
        except KeyFileError as error:
            _log.error("the new certificate cannot be used, the old one stays", reason=str(error))
        else:
            _log.info("the certificate was renewed")

    def _open(self) -> ssl.SSLContext:
        with SecretBytes(read_checked(self._key_file.resolve(), is_secret=True)):
            pass  # only to see that nobody else could read it
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert_file, self._key_file, password=_no_passphrase)
        except (OSError, ValueError):  # whose texts are OpenSSL's
            text = (
                f"{self._cert_file} and {self._key_file} are not a certificate and its key in PEM"
            )
            raise KeyFileError(text) from None
        return context

    def _look(self) -> _Looks:
        return tuple(_look_of(path) for path in (self._cert_file, self._key_file))


def _look_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_size  # a mode that was mended, too


def _no_passphrase() -> bytes:
    """Asked for by OpenSSL, which would otherwise ask the terminal."""
    return b""
