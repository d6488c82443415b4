"""Settings to a digest and the names of what was changed."""

import pytest

from server.config import Settings, load_settings
from server.configured import configured

USUAL = {"model": "tiny.en", "listen": {"port": 1, "origins": []}, "issuers": []}


def test_what_is_at_its_default_is_not_named():
    assert configured(USUAL, USUAL).changed == ""


def test_what_was_changed_is_named_by_its_key_and_not_by_its_value():
    event = configured({**USUAL, "model": "base", "listen": {"port": 2, "origins": []}}, USUAL)
    assert event.changed == "listen.port model"


def test_another_value_is_another_digest_and_the_same_is_the_same():
    digests = {configured({**USUAL, "model": model}, USUAL).digest for model in "abb"}
    assert len(digests) == 2
    assert all(len(digest) == 64 for digest in digests)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://user:one@proxy.example/x", "https://other@proxy.example/x"),
        ("redis://:p?w/1@r.example:6379/0", "redis://r.example:6379/0"),
        ("https://k.example/jwks?key=1", "https://k.example/jwks#2"),
        ("pkcs11:token=T?pin-value=1234", "pkcs11:token=T?pin-value=4321"),
    ],
)
def test_what_could_be_a_secret_takes_no_part(one, other):
    within = [
        {**USUAL, "issuers": [{"proxy": secret, "keys": [secret]}], "x": {"y": secret}}
        for secret in (one, other)
    ]
    assert configured(within[0], USUAL) == configured(within[1], USUAL)


def test_the_servers_own_settings_say_what_differs(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_SESSION__IDLE_LIMIT_S", "7")
    defaults = Settings.model_construct().model_dump(mode="json")
    plain = load_settings(data_folder=tmp_path)
    event = configured(plain.model_dump(mode="json"), defaults)
    assert event.changed == "data_folder session.idle_limit_s"
    assert str(tmp_path) not in repr(event)
