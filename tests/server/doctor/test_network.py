"""Settings of a network, safe and unsafe; certificates of every age."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from security.errors import ProviderError, ProviderReason, TokenKeyError
from security.issuers import IssuerSettings
from security.keys import create_signing_key
from security.provider_settings import ProviderSettings
from security.token_keys import KeySet
from server.doctor import network

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("Localhost", True),
        ("0.0.0.0", False),  # noqa: S104 (what is to be told apart)
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(host, is_local):
    assert network.is_loopback(host) is is_local


@pytest.mark.parametrize(
    ("host", "has_tls", "has_proxies", "level"),
    [
        ("127.0.0.1", False, False, "ok"),
        ("10.0.0.1", True, False, "ok"),
        ("10.0.0.1", False, True, "ok"),
        ("10.0.0.1", False, False, "bad"),
    ],
)
def test_no_voice_goes_over_a_network_in_plain(host, has_tls, has_proxies, level):
    finding = network.check_exposure(host, has_tls=has_tls, has_proxies=has_proxies)
    assert finding.level == level


@pytest.fixture
def pair(tmp_path):
    """Makes a certificate that begins and ends so many days from now, and its key."""
    key = Ed25519PrivateKey.generate()
    files = tmp_path / "cert.pem", tmp_path / "key.pem"

    def make(begins_days=-1, ends_days=90, signer=key):
        begins, ends = NOW + timedelta(days=begins_days), NOW + timedelta(days=ends_days)
        builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, begins, ends)
        files[0].write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
        pem = signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files[1].write_bytes(pem)
        files[1].chmod(0o600)
        return files

    return make


def levels(cert, key):
    return [finding.level for finding in network.check_tls(cert, key, NOW)]


def test_no_certificate_is_no_fault():
    assert levels(None, None) == ["ok"]


@pytest.mark.parametrize(
    ("days", "level"),
    [((-1, 31), "ok"), ((-1, 29), "warn"), ((-9, -1), "bad"), ((-1, 0), "bad"), ((1, 90), "bad")],
)
def test_a_certificate_is_good_for_a_while(pair, days, level):
    assert levels(*pair(*days)) == ["ok", level]


def test_a_pair_that_the_server_would_not_take_is_told_without_what_it_holds(pair):
    cert, key = pair(signer=Ed25519PrivateKey.generate())
    assert levels(cert, key) == ["bad"]
    pair()
    key.chmod(0o644)
    assert levels(cert, key) == ["bad"]
    key.chmod(0o600)
    assert levels(cert, key) == ["ok", "ok"]
    key.write_text("s3cret")
    [finding] = network.check_tls(cert, key, NOW)
    assert finding.level == "bad"
    assert "s3cret" not in finding.line


@pytest.mark.parametrize(
    ("origin", "level"),
    [
        ("https://a.example", "ok"),
        ("https://a.example:8443", "ok"),
        ("http://localhost:3000", "ok"),
        ("http://[::1]:3000", "ok"),
        ("http://a.example", "bad"),
        ("https://a.example/", "bad"),
        ("https://a.example:443", "bad"),
        ("https://A.example", "bad"),
        ("https://*.example", "bad"),
        ("https://a.example:port", "bad"),
        ("https://", "bad"),
        ("a.example", "bad"),
        ("null", "bad"),
        ("*", "bad"),
    ],
)
def test_an_origin_is_spelt_as_browsers_spell_it_and_safe(origin, level):
    [finding] = network.check_origins([origin])
    assert finding.level == level


def test_no_origins_are_no_fault():
    [finding] = network.check_origins([])
    assert finding.level == "ok"


def unreachable(settings):
    raise TokenKeyError("the address of the keys cannot be reached")


@pytest.mark.parametrize(
    ("keys", "fetch", "level"),
    [
        ("there.pem", None, "ok"),
        ("gone.pem", None, "bad"),
        ("https://id.example/jwks", None, "ok"),
        ("https://id.example/jwks", lambda settings: KeySet(), "ok"),
        ("https://id.example/jwks", unreachable, "bad"),
    ],
)
def test_the_keys_of_an_issuer_can_be_had(tmp_path, keys, fetch, level):
    create_signing_key(tmp_path / "there")
    (tmp_path / "there.pub").rename(tmp_path / "there.pem")
    place = keys if "://" in keys else str(tmp_path / keys)
    settings = IssuerSettings("them", "us", "EdDSA", place)
    finding = network.check_issuer(settings, fetch)
    assert (finding.level, finding.about) == (level, "them")


def away(settings):
    raise ProviderError(ProviderReason.UNREACHABLE)


@pytest.mark.parametrize(
    ("mode", "look", "level"),
    [
        (0o600, None, "ok"),
        (0o600, lambda settings: None, "ok"),
        (0o600, away, "bad"),
        (0o644, None, "bad"),
    ],
)
def test_a_provider_answers_and_the_secret_is_one(tmp_path, mode, look, level):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(mode)
    settings = ProviderSettings("https://id.example", "page", "W", tmp_path / "secret")
    finding = network.check_provider(settings, look)
    assert (finding.level, finding.about) == (level, "https://id.example")


def test_a_provider_of_public_clients_needs_no_secret():
    settings = ProviderSettings("https://id.example", "page", "W")
    assert network.check_provider(settings, None).level == "ok"


@pytest.mark.parametrize(
    ("is_bindable", "is_ours", "level"),
    [(True, False, "ok"), (False, True, "ok"), (False, False, "bad")],
)
def test_the_port_is_free_or_ours(is_bindable, is_ours, level):
    assert network.check_port(8765, is_bindable, lambda: is_ours).level == level


@dataclass
class Group:
    idle_limit_s: float = 30.0
    name: str = "n"
    hurry_limit_s: str = "no number"


@dataclass
class Settings:
    session: Group = field(default_factory=Group)
    head_limit_s: float = 5.0


@pytest.mark.parametrize("off_s", [0, 0.0, float("inf")])
def test_a_time_out_that_is_switched_off_is_named(off_s):
    [finding] = network.check_time_outs(Settings(Group(off_s)))
    assert (finding.level, finding.about) == ("bad", "session.idle_limit_s")
    [finding] = network.check_time_outs(Settings())
    assert finding.level == "ok"


def test_a_unix_time_is_a_date():
    assert network.utc_of(NOW.timestamp()) == NOW
