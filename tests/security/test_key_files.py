"""Key files that appear, change and break in; the keys that count at that moment out."""

import os

import pytest

from security.errors import KeyFileError
from security.key_files import issuer_keys, local_keys, read_retired
from security.keys import create_signing_key
from security.token_keys import TokenKey, encode_jwks, key_id_of
from tests.security.forge import EC_KEY, ED_KEY, NOW_S, SECRET, jwk, jwks, pem, private_key


def written(path, content, mode=0o644):
    """In one step, as those do who know that somebody reads."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.chmod(mode)
    new.replace(path)
    return path


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_pem_file_holds_one_key(tmp_path, algorithm):
    key = private_key(algorithm)
    keys = issuer_keys(written(tmp_path / "key.pem", pem(key)), algorithm)
    assert keys.find(None, NOW_S).material == key.public_key()
    assert keys.find(key_id_of(key.public_key()), NOW_S).algorithm == algorithm
    assert keys.find("k-1", NOW_S) is None


def test_the_key_of_a_pem_file_may_be_named(tmp_path):
    keys = issuer_keys(written(tmp_path / "key.pem", pem(ED_KEY)), "EdDSA", "k-1")
    assert keys.find("k-1", NOW_S) is keys.find(None, NOW_S)


def test_a_jwks_file_holds_many(tmp_path):
    both = jwks(jwk("ES256"), jwk("ES256", kid="k-2"))
    keys = issuer_keys(written(tmp_path / "keys.jwks", both), "ES256")
    assert keys.find("k-1", NOW_S).material == keys.find("k-2", NOW_S).material
    assert keys.find(None, NOW_S) is None


def test_a_secret_is_the_content_of_a_closed_file(tmp_path):
    path = written(tmp_path / "secret", SECRET + b"\n", 0o600)
    key = issuer_keys(path, "HS256").find(None, NOW_S)
    assert bytes(key.material.expose()) == SECRET
    assert issuer_keys(path, "HS256", "k-1").find("k-1", NOW_S)


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (SECRET, 0o640, "chmod 600"),
        (SECRET[:31], 0o600, "too weak"),
        (pem(ED_KEY), 0o600, "another kind"),
        (b"", 0o600, "wrong length"),
    ],
)
def test_a_secret_that_is_open_short_or_none_is_refused(tmp_path, content, mode, text):
    with pytest.raises(KeyFileError, match=text):
        issuer_keys(written(tmp_path / "secret", content, mode), "HS256")


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (pem(ED_KEY), 0o664, "chmod 644"),
        (pem(EC_KEY), 0o644, "none for EdDSA"),
        (b"-----BEGIN PUBLIC KEY-----\n", 0o644, "does not hold a public key"),
        (b"hello", 0o644, "not a JWKS document"),
        (jwks(jwk("ES256")), 0o644, "holds no key"),
        (b"x" * 262_144, 0o644, "wrong length"),
    ],
)
def test_a_file_that_cannot_be_trusted_or_used_is_refused(tmp_path, content, mode, text):
    with pytest.raises(KeyFileError, match=text):
        issuer_keys(written(tmp_path / "key", content, mode), "EdDSA")


def test_a_file_that_changes_is_read_again(tmp_path):
    path = written(tmp_path / "keys.jwks", jwks(jwk("EdDSA")))
    keys = issuer_keys(path, "EdDSA")
    written(path, jwks(jwk("EdDSA", kid="k-2")))
    assert keys.find("k-1", NOW_S) is None
    assert keys.find("k-2", NOW_S)


def test_a_file_that_does_not_change_is_not_read_again(tmp_path):
    path = written(tmp_path / "key.pem", pem(ED_KEY))
    keys = issuer_keys(path, "EdDSA")
    assert keys.find(None, NOW_S) is keys.find(None, NOW_S)


@pytest.mark.parametrize("content", [b"", b"half a fi", None])
def test_a_file_that_breaks_or_vanishes_leaves_the_former_keys_in_use(tmp_path, capfd, content):
    path = written(tmp_path / "key.pem", pem(ED_KEY))
    keys = issuer_keys(path, "EdDSA")
    written(path, content) if content is not None else path.unlink()
    assert keys.find(None, NOW_S)
    assert keys.find(None, NOW_S)
    logged = "".join(capfd.readouterr())
    assert logged.count("the keys read before stay in use") == 1
    written(path, pem(ED_KEY))
    assert keys.find(None, NOW_S)


def test_our_own_key_counts_and_the_retired_ones_until_they_end(tmp_path):
    create_signing_key(tmp_path / "signing.pem")
    retired = tmp_path / "retired.jwks"
    keys = local_keys(tmp_path / "signing.pem.pub", retired)
    own = keys.find(None, NOW_S)
    assert keys.find("k-1", NOW_S) is None
    written(retired, encode_jwks([TokenKey("k-1", "EdDSA", ED_KEY.public_key(), NOW_S)]))
    assert keys.find("k-1", NOW_S - 1)
    assert keys.find("k-1", NOW_S) is None
    assert keys.find(own.key_id, NOW_S)
    assert keys.find(None, NOW_S).key_id == own.key_id


def test_our_own_key_does_not_end_because_it_is_among_the_retired(tmp_path):
    public = written(tmp_path / "signing.pem.pub", pem(ED_KEY))
    name = key_id_of(ED_KEY.public_key())
    ended = TokenKey(name, "EdDSA", ED_KEY.public_key(), 1)
    retired = written(tmp_path / "retired.jwks", encode_jwks([ended]))
    assert local_keys(public, retired).find(name, NOW_S)


def test_without_a_file_nothing_is_retired(tmp_path):
    assert read_retired(tmp_path / "no").keys == ()
    with pytest.raises(KeyFileError):
        read_retired(written(tmp_path / "retired", b"hello"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_account_is_refused(tmp_path):
    path = written(tmp_path / "key.pem", pem(ED_KEY))
    os.chown(path, 12345, -1)
    with pytest.raises(KeyFileError, match="another account"):
        issuer_keys(path, "EdDSA")
