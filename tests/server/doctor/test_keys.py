"""Key files and folders, as they should be and as they are found."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.keys import create_key_file, create_signing_key, open_key_file
from security.revocation_file import append_revocation
from security.revocations import RevokedKey
from security.token_keys import TokenKey, encode_jwks, key_id_of
from server.doctor.keys import (
    SIGNING_KEY_LIMIT_S,
    check_folder,
    check_key_file,
    check_publisher_key,
    check_retired_keys,
    check_revocations,
    check_signing_age,
    check_signing_key,
)

WALL_S = 1_800_000_000.0


@pytest.fixture
def key(tmp_path):
    create_key_file(tmp_path / "pack.key")
    return tmp_path / "pack.key"


def test_a_key_that_is_closed_to_others_is_well(key):
    finding = check_key_file("pack key", key, open_key_file)
    assert (finding.level, finding.about) == ("ok", str(key))


def link(key):
    key.rename(key.with_name("other"))
    key.symlink_to("other")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(lambda key: key.unlink(), "cannot be opened", id="gone"),
        pytest.param(lambda key: key.chmod(0o640), "chmod 600", id="readable for others"),
        pytest.param(link, "must not be a link", id="a link"),
        pytest.param(lambda key: key.write_text("s3cret"), "does not hold a key", id="no key"),
    ],
)
def test_a_key_that_the_server_would_not_take_is_bad(key, harm, said):
    harm(key)
    finding = check_key_file("pack key", key, open_key_file)
    assert finding.level == "bad"
    assert said in finding.text
    assert "s3cret" not in finding.line


@pytest.mark.parametrize(
    ("mode", "is_secret", "level"),
    [
        (0o700, True, "ok"),
        (0o755, False, "ok"),
        (0o755, True, "warn"),
        (0o775, False, "bad"),
        (0o777, True, "bad"),
    ],
)
def test_a_folder_is_as_open_as_its_content_allows(tmp_path, mode, is_secret, level):
    tmp_path.chmod(mode)
    assert check_folder(tmp_path, is_secret=is_secret, euid=os.geteuid()).level == level


def test_a_folder_of_another_account_is_bad(tmp_path):
    finding = check_folder(tmp_path, is_secret=False, euid=os.geteuid() + 1)
    assert (finding.level, finding.text) == ("bad", "it belongs to another account.")


def test_what_is_no_folder_or_not_there_is_bad(key):
    assert check_folder(key, is_secret=False, euid=os.geteuid()).text == "it is no folder."
    assert check_folder(key / "x", is_secret=False, euid=os.geteuid()).level == "bad"


@pytest.mark.parametrize(("age_s", "level"), [(0, "ok"), (1, "warn")])
def test_a_signing_key_of_over_a_year_is_due(key, age_s, level):
    made_s = WALL_S - SIGNING_KEY_LIMIT_S - age_s
    os.utime(key, (made_s, made_s))
    assert check_signing_age(key, WALL_S).level == level


def test_the_age_of_a_key_that_is_gone_is_not_known(tmp_path):
    assert check_signing_age(tmp_path / "x", WALL_S).level == "warn"


def test_a_publishers_private_key_belongs_elsewhere_once_others_reach_the_server(tmp_path):
    path = tmp_path / "publisher.pem"
    assert check_publisher_key(path, is_reachable=True).level == "ok"
    create_signing_key(path)
    assert check_publisher_key(path, is_reachable=False).level == "ok"
    assert check_publisher_key(path, is_reachable=True).level == "warn"


@pytest.mark.parametrize(
    ("ends_s", "level"),
    [
        pytest.param([1_800_000_001], "ok", id="one to come to its end"),
        pytest.param([1, 1_800_000_001], "ok", id="one that ended"),
        pytest.param([1], "ok", id="only one that ended"),
        pytest.param([1, None], "warn", id="one without an end"),
    ],
)
def test_retired_keys_have_an_end(tmp_path, ends_s, level):
    path = tmp_path / "retired.jwks"
    public = [Ed25519PrivateKey.generate().public_key() for _ in ends_s]
    pairs = zip(public, ends_s, strict=True)
    path.write_bytes(encode_jwks(TokenKey(key_id_of(key), "EdDSA", key, end) for key, end in pairs))
    path.chmod(0o644)
    assert check_retired_keys(path, WALL_S).level == level


def test_no_retired_keys_are_well_and_an_unreadable_list_is_not(tmp_path):
    path = tmp_path / "retired.jwks"
    assert check_retired_keys(path, WALL_S).level == "ok"
    path.write_text("{")
    path.chmod(0o644)
    assert check_retired_keys(path, WALL_S).level == "bad"


# --- the pair that signs tokens ---


@pytest.fixture
def signing(tmp_path):
    create_signing_key(tmp_path / "signing.pem")
    return tmp_path / "signing.pem"


def levels(findings):
    return [finding.level for finding in findings]


def test_a_pair_that_belongs_together_is_well(signing):
    assert levels(check_signing_key(signing, signing.stat().st_mtime)) == ["ok", "ok"]


def test_a_server_that_only_verifies_is_well(signing):
    signing.unlink()
    [finding] = check_signing_key(signing, WALL_S)
    assert finding.level == "ok"
    assert "only verifies" in finding.text


def test_halves_of_two_keys_are_bad(signing, tmp_path):
    create_signing_key(tmp_path / "other.pem")
    (tmp_path / "other.pem.pub").rename(tmp_path / "signing.pem.pub")
    *_, finding = check_signing_key(signing, signing.stat().st_mtime)
    assert finding.level == "bad"
    assert "another key" in finding.text


def test_a_private_key_alone_is_told_by_who_looks_at_the_public_one(signing, tmp_path):
    (tmp_path / "signing.pem.pub").unlink()
    assert levels(check_signing_key(signing, signing.stat().st_mtime)) == ["ok", "ok"]


def test_a_private_key_that_others_can_read_is_bad(signing):
    signing.chmod(0o644)
    assert levels(check_signing_key(signing, WALL_S)) == ["bad"]


# --- what was revoked ---


@pytest.fixture
def revocations(tmp_path):
    append_revocation(tmp_path / "revocations.ndjson", RevokedKey("bank", "k-1"))
    return tmp_path / "revocations.ndjson"


def test_a_list_that_is_whole_is_well_and_so_is_none(revocations, tmp_path):
    assert check_revocations(revocations).level == "ok"
    assert check_revocations(tmp_path / "none").level == "ok"


def test_a_list_that_others_can_change_is_bad(revocations):
    revocations.chmod(0o666)
    assert "other accounts" in check_revocations(revocations).text


def test_a_list_with_a_line_that_says_nothing_is_bad(revocations):
    with revocations.open("ab") as file:
        file.write(b"s3cret\n")
    finding = check_revocations(revocations)
    assert finding.level == "bad"
    assert "s3cret" not in finding.line
