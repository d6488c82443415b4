"""Settings of bridges and files of secrets in, what each bridge makes of an upgrade out."""

import base64

import pytest
from twilio.request_validator import RequestValidator

from security.errors import KeyFileError
from server.bridge_kinds import open_kind
from server.bridge_settings import BridgeSettings, DialectName
from server.dialects.media_streams import MediaStreams
from server.dialects.values import Upgrade
from server.door import Token
from server.errors import RefusedError

ADDRESS = "wss://calls.example/v1/bridges/x"
AUTH_TOKENS = ("a" * 32, "b" * 32)
BRIDGES = [name for name in DialectName if name is not DialectName.AUDIOSOCKET]


@pytest.fixture
def kind_of(tmp_path):
    """The content is that of its file of secrets; None: it has none."""

    def make(dialect, content=None, mode=0o600, **given):
        path = None
        if content is not None:
            path = tmp_path / "secret"
            path.write_text(content)
            path.chmod(mode)
        address = ADDRESS if path else None
        settings = BridgeSettings("x", dialect, secret_file=path, address=address, **given)
        return open_kind(settings, lambda: 0.0)

    return make


@pytest.mark.parametrize("dialect", BRIDGES)
def test_each_dialect_makes_a_new_one_for_each_upgrade(kind_of, dialect):
    content = None
    if dialect is DialectName.AUDIOHOOK:
        content = "key " + base64.b64encode(b"secret").decode()
    kind = kind_of(dialect, content)
    one, other = (kind.new_dialect(Upgrade("/")) for _ in range(2))
    assert type(one) is type(other)
    assert one is not other


def test_a_subprotocol_that_is_offered_and_spoken_is_answered(kind_of):
    kind = kind_of(DialectName.ASTERISK)
    assert kind.subprotocol_of(Upgrade("/", subprotocols=["x", "media"])) == "media"
    assert kind.subprotocol_of(Upgrade("/", subprotocols=["x"])) is None


def test_each_of_several_secrets_is_good_while_they_change(kind_of):
    kind = kind_of(DialectName.MEDIA_STREAMS, "\n".join(AUTH_TOKENS) + "\n")
    for auth_token in AUTH_TOKENS:
        signature = RequestValidator(auth_token).compute_signature(ADDRESS, {})
        assert kind.look(Upgrade("/", [("x-twilio-signature", signature)])) is None
    with pytest.raises(RefusedError) as refused:
        kind.look(Upgrade("/", [("authorization", "Bearer t")]))
    assert refused.value.reason == "signature_missing"


def test_who_is_not_signed_for_shows_a_token_at_once(kind_of):
    kind = kind_of(DialectName.MEDIA_STREAMS)
    assert isinstance(kind.new_dialect(Upgrade("/")), MediaStreams)
    assert kind.look(Upgrade("/", [("authorization", "Bearer t")])) == Token("t")
    with pytest.raises(RefusedError) as refused:
        kind.look(Upgrade("/"))
    assert refused.value.reason == "token_missing"


@pytest.mark.parametrize(
    ("dialect", "content"),
    [
        (DialectName.MEDIA_STREAMS, "\n\n"),
        (DialectName.AUDIOHOOK, "key"),
        (DialectName.AUDIOHOOK, "key %%%"),
        (DialectName.AUDIOHOOK, "\n"),
    ],
)
def test_a_file_without_secrets_is_a_fault_that_does_not_repeat_it(kind_of, dialect, content):
    with pytest.raises(KeyFileError) as fault:
        kind_of(dialect, content)
    assert "%%%" not in str(fault.value)


def test_a_file_that_others_can_read_is_not_read(kind_of):
    with pytest.raises(KeyFileError):
        kind_of(DialectName.MEDIA_STREAMS, AUTH_TOKENS[0], mode=0o644)
