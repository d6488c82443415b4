"""Key files in every state in; keys, or refusals that name the file and the way out, out."""

import os
import resource
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from security.errors import KeyFileError
from security.keys import (
    create_key_file,
    create_signing_key,
    new_key,
    open_key_file,
    open_signing_key,
    open_verifying_key,
)


@pytest.fixture
def key_path(tmp_path):
    path = tmp_path / "pack.key"
    create_key_file(path)
    return path


@pytest.fixture
def signing_path(tmp_path):
    path = tmp_path / "token.key"
    create_signing_key(path)
    return path


def write_closed(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_key_is_random_and_can_be_wiped():
    one, other = new_key(), new_key()
    assert len(one) == len(other) == 32
    assert one != other
    one.wipe()
    with pytest.raises(ValueError, match="wiped"):
        one.expose()


def test_a_new_key_opens(key_path):
    key = open_key_file(key_path)
    assert len(key) == 32
    assert key_path.read_text() == bytes(key.expose()).hex() + "\n"


def test_two_new_keys_differ(tmp_path):
    create_key_file(tmp_path / "a")
    create_key_file(tmp_path / "b")
    assert open_key_file(tmp_path / "a") != open_key_file(tmp_path / "b")


def test_a_key_file_is_closed_to_others_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        create_key_file(tmp_path / "a")
        create_signing_key(tmp_path / "b")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a") == 0o600
    assert mode_of(tmp_path / "b") == 0o600
    assert mode_of(tmp_path / "b.pub") == 0o644


def test_an_existing_key_is_never_overwritten(key_path):
    before = key_path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key_file(key_path)
    assert key_path.read_bytes() == before


def test_a_key_is_not_written_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(KeyFileError):
        create_key_file(tmp_path / "link")
    assert not (tmp_path / "target").exists()


def test_a_key_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be written: No such file"):
        create_key_file(tmp_path / "no" / "key")


def test_a_disk_that_takes_no_more_leaves_no_key_behind(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(KeyFileError, match="cannot be written: File too large"):
            create_key_file(tmp_path / "key")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_key_open_to_others_is_refused_with_the_way_out(key_path, mode):
    key_path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {key_path}"):
        open_key_file(key_path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_closed_key_is_accepted(key_path, mode):
    key_path.chmod(mode)
    assert len(open_key_file(key_path)) == 32


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(KeyFileError, match=r"pack\.key cannot be opened: No such file"):
        open_key_file(tmp_path / "pack.key")


def test_a_link_to_a_key_is_refused(key_path, tmp_path):
    (tmp_path / "link").symlink_to(key_path)
    with pytest.raises(KeyFileError, match="must not be a link"):
        open_key_file(tmp_path / "link")


def test_a_folder_is_no_key(tmp_path):
    with pytest.raises(KeyFileError, match="not a regular file"):
        open_key_file(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        open_key_file(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_account_is_refused(key_path):
    os.chown(key_path, 12345, -1)
    with pytest.raises(KeyFileError, match="another account"):
        open_key_file(key_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a" * 63 + b"\n",
        b"a" * 65 + b"\n",
        b"a" * 64,
        b"a" * 64 + b"\r\n",
        b"A" * 64 + b"\n",
        b"g" * 64 + b"\n",
        b"a" * 63 + b"g\n",
        b" " + b"a" * 63 + b"\n",
        bytes(65),
        b"a" * 5000,
    ],
)
def test_a_malformed_key_is_refused_without_being_shown(tmp_path, content):
    path = write_closed(tmp_path / "key", content)
    with pytest.raises(KeyFileError) as caught:
        open_key_file(path)
    assert "aaaa" not in str(caught.value)


def test_a_signing_key_and_its_public_half_fit(signing_path):
    signature = open_signing_key(signing_path).sign(b"text")
    open_verifying_key(signing_path.with_name("token.key.pub")).verify(signature, b"text")


def test_a_signing_key_is_not_made_over_an_old_public_half(tmp_path):
    (tmp_path / "token.key.pub").write_text("old")
    with pytest.raises(KeyFileError):
        create_signing_key(tmp_path / "token.key")
    assert not (tmp_path / "token.key").exists()


def test_an_old_signing_key_keeps_its_place_and_no_stray_public_half_appears(tmp_path):
    (tmp_path / "token.key").write_text("old")
    with pytest.raises(KeyFileError):
        create_signing_key(tmp_path / "token.key")
    assert not (tmp_path / "token.key.pub").exists()


def test_a_signing_key_open_to_others_is_refused(signing_path):
    signing_path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        open_signing_key(signing_path)


def test_a_public_key_that_others_can_change_is_refused(signing_path):
    public = signing_path.with_name("token.key.pub")
    public.chmod(0o664)
    with pytest.raises(KeyFileError, match="chmod 644"):
        open_verifying_key(public)


@pytest.mark.parametrize("opener", [open_signing_key, open_verifying_key])
def test_text_that_is_no_pem_is_refused(tmp_path, opener):
    with pytest.raises(KeyFileError, match="Ed25519"):
        opener(write_closed(tmp_path / "key", b"hello"))


def test_a_key_of_another_algorithm_is_refused(tmp_path):
    key = generate_private_key(SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyFileError, match="Ed25519"):
        open_signing_key(write_closed(tmp_path / "private", private))
    with pytest.raises(KeyFileError, match="Ed25519"):
        open_verifying_key(write_closed(tmp_path / "public", public))


def test_a_signing_key_in_place_of_the_public_one_is_refused(signing_path):
    with pytest.raises(KeyFileError, match="public key"):
        open_verifying_key(signing_path)
