"""Files of a certificate and its key in; what connections are secured with, or a refusal, out."""

import ssl
import warnings

import pytest
from structlog.testing import capture_logs

from security.errors import KeyFileError
from server.tls import Certificate
from tests.server.certificates import make_pair, name_of, trusting
from tests.server.listening import UPGRADE, listening

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def pair(tmp_path):
    return make_pair(tmp_path, "old")


async def test_requests_and_websockets_come_by_tls(pair):
    async with listening(Certificate(*pair)) as here:
        peer = await (await here.peer(trusting(pair[0]))).say(HELLO)
        status, head, body = await peer.answer()
        assert (status, body) == (200, b"hello")
        assert b"strict-transport-security: max-age=31536000\r\n" in head
        await peer.say(UPGRADE)
        assert (await peer.hear(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await peer.say(b"\x81\x82\0\0\0\0hi")
        assert await peer.hear(b"hi") == b"\x81\x02hi"
        await peer.say(b"\x88\x80\0\0\0\0")
        assert await peer.rest() == b"\x88\0"


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_old_versions_are_not_spoken(pair, version, is_spoken):
    context = trusting(pair[0])
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    assert await is_understood(pair, context) == is_spoken


@pytest.mark.parametrize("cipher", ["AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA", "aNULL"])
async def test_ciphers_without_forward_secrecy_or_authentication_are_not_spoken(pair, cipher):
    context = trusting(pair[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    assert not await is_understood(pair, context)


async def is_understood(pair, context) -> bool:
    async with listening(Certificate(*pair)) as here:
        try:
            peer = await here.peer(context)
        except (ssl.SSLError, ConnectionError):
            await here.until(lambda: here.listener.crowd.total == 0)
            return False
        await peer.say(HELLO)
        return (await peer.answer())[0] == 200


async def test_a_handshake_that_does_not_come_to_its_end_is_dropped(pair, capfd):
    limits = {"tls_handshake_limit_s": 0.3}
    async with listening(Certificate(*pair), **limits) as here:
        for start in (b"", b"\x16\x03\x01\x02\x00", HELLO):
            assert b"HTTP" not in await here.ask(start)
        await here.until(lambda: here.listener.crowd.total == 0)
    assert "".join(capfd.readouterr()) == ""


async def test_the_time_for_the_handshake_is_taken_from_the_time_for_the_head(pair):
    async with listening(Certificate(*pair), head_limit_s=0.3) as here:
        peer = await (await here.peer(trusting(pair[0]))).say(HELLO[:20])
        assert (await peer.rest()).startswith(b"HTTP/1.1 408 ")
        await here.until(lambda: here.listener.crowd.total == 0)


async def test_a_renewed_certificate_is_for_new_connections_and_old_ones_live_on(pair, tmp_path):
    async with listening(Certificate(*pair)) as here:
        old = await here.peer(trusting(pair[0]))
        make_pair(tmp_path, "new")
        with capture_logs() as logs:
            await here.until(lambda: logs)
        new = await here.peer(trusting(pair[0]))
        assert name_of(new.writer.get_extra_info("ssl_object")) == "new"
        assert name_of(old.writer.get_extra_info("ssl_object")) == "old"
        for peer in (old, new):
            await peer.say(HELLO)
            assert (await peer.answer())[0] == 200


def spoil_certificate(cert_file, key_file):
    cert_file.write_text("nonsense")


def spoil_key(cert_file, key_file):
    key_file.write_text("nonsense")


def mismatch(cert_file, key_file):
    (cert_file.parent / "other").mkdir()
    other, _ = make_pair(cert_file.parent / "other")
    cert_file.write_bytes(other.read_bytes())


def remove_certificate(cert_file, key_file):
    cert_file.unlink()


def remove_key(cert_file, key_file):
    key_file.unlink()


def open_to_others(cert_file, key_file):
    make_pair(cert_file.parent)
    key_file.chmod(0o640)


def behind_a_passphrase(cert_file, key_file):
    make_pair(cert_file.parent, passphrase=b"a secret")


SPOILERS = [
    spoil_certificate,
    spoil_key,
    mismatch,
    remove_certificate,
    remove_key,
    open_to_others,
    behind_a_passphrase,
]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_pair_that_cannot_be_used_is_refused(pair, spoil):
    spoil(*pair)
    with pytest.raises(KeyFileError, match=r"\.pem") as refused:
        Certificate(*pair)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_bad_new_pair_is_told_of_once_and_the_old_one_stays(pair, spoil):
    certificate = Certificate(*pair)
    before = certificate.context
    spoil(*pair)
    with capture_logs() as logs:
        for _ in range(5):
            certificate.reload_if_changed()
    assert [line["log_level"] for line in logs] == ["error"]
    assert certificate.context is before
    make_pair(pair[0].parent, "good again")
    for _ in range(5):
        certificate.reload_if_changed()
    assert certificate.context is not before


def test_files_that_are_being_written_are_left_alone(pair, tmp_path):
    certificate = Certificate(*pair)
    before = certificate.context
    with capture_logs() as logs:
        mismatch(*pair)
        certificate.reload_if_changed()
        make_pair(tmp_path, "new")
        certificate.reload_if_changed()
        assert certificate.context is before
        certificate.reload_if_changed()
    assert certificate.context is not before
    assert [line["log_level"] for line in logs] == ["info"]


def test_a_key_may_be_reached_by_a_link(pair, tmp_path):
    link = tmp_path / "live.pem"
    link.symlink_to(pair[1])
    assert Certificate(pair[0], link).context


async def test_without_tls_nobody_is_told_to_come_by_it():
    async with listening() as here:
        peer = await (await here.peer()).say(HELLO)
        assert b"strict-transport" not in (await peer.answer())[1].lower()
