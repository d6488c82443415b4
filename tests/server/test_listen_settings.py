"""Settings of the socket in, what is wrong with them out."""

import pytest

from server.config import SettingsError, load_settings
from server.listen_settings import ListenSettings, listen_faults


def test_the_defaults_are_sound():
    assert list(listen_faults(ListenSettings())) == []


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"port": 70_000}, "listen.port"),
        ({"tls_cert": "cert.pem"}, "listen.tls_cert"),
        ({"tls_key": "key.pem"}, "listen.tls_cert"),
        ({"trusted_proxies": ["proxy.example"]}, "listen.trusted_proxies"),
        ({"uncounted": ["10.0.0.1/8"]}, "listen.uncounted"),
        ({"upload_check_s": 0}, "listen.upload_check_s"),
        ({"head_limit_s": -1}, "listen.head_limit_s"),
    ],
)
def test_a_fault_is_named_by_its_key(given, key):
    with pytest.raises(SettingsError, match=key):
        load_settings(listen=given)


def test_proxies_may_be_one_or_a_list_in_the_environment(monkeypatch):
    monkeypatch.setenv("EARWITNESS_LISTEN__TRUSTED_PROXIES", "10.0.0.0/8")
    assert load_settings().listen.trusted_proxies == ("10.0.0.0/8",)
    monkeypatch.setenv("EARWITNESS_LISTEN__TRUSTED_PROXIES", '["10.0.0.0/8","unix"]')
    assert load_settings().listen.trusted_proxies == ("10.0.0.0/8", "unix")
