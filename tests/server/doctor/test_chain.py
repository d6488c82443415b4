"""A trail that can be proven later, and what would be in the way."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.checkpoint import Checkpoint, origin_of, sign_checkpoint
from security.trail_places import TrailPlaces
from server.doctor.chain import (
    check_auditor_key,
    check_chain,
    check_checkpoint,
    check_copies,
    check_metrics,
    check_metrics_answer,
    check_retention,
)

AT_NS = 1_800_000_000 * 10**9
HOUR_S = 3600


@pytest.fixture
def places(tmp_path):
    """Of a trail that has begun; what lies in its files is nobody's business here."""
    places = TrailPlaces(tmp_path / "audit", tmp_path / "keys")
    places.folder.mkdir()
    places.keys_folder.mkdir()
    places.segment_file(1).touch()
    for path in (places.chain_key_file, places.head_file, places.signing_key_file):
        path.touch(mode=0o600)
    return places


@pytest.fixture
def key(places):
    made = Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path = places.signing_key_file
    path.with_name(path.name + ".pub").write_bytes(public)
    return made


def note(key, at_utc_ns):
    checkpoint = Checkpoint(
        origin=origin_of("0" * 16),
        size=1,
        root=bytes(32),
        epoch=0,
        mac=bytes(32),
        at_utc_ns=at_utc_ns,
    )
    return sign_checkpoint(checkpoint, key)


def test_an_auditors_key_that_is_still_here_is_to_be_taken_away(places):
    assert check_auditor_key(places.auditor_key_file).level == "ok"
    places.auditor_key_file.touch()
    finding = check_auditor_key(places.auditor_key_file)
    assert (finding.level, "delete it here" in finding.remedy) == ("warn", True)


def levels(findings):
    return [finding.level for finding in findings]


def test_no_trail_yet_is_well(tmp_path):
    places = TrailPlaces(tmp_path / "audit", tmp_path / "keys")
    assert levels(check_chain(places)) == ["ok"]
    assert check_checkpoint(places, HOUR_S, AT_NS).level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_keys_that_are_there_and_closed_are_well(places):
    assert levels(check_chain(places)) == ["ok"]


@pytest.mark.parametrize("name", ["chain_key_file", "head_file", "signing_key_file"])
def test_each_key_that_is_gone_open_or_no_file_is_bad(places, name):
    path = getattr(places, name)
    path.chmod(0o640)
    assert levels(check_chain(places)) == ["bad"]
    path.unlink()
    assert levels(check_chain(places)) == ["bad"]
    path.symlink_to("elsewhere")
    assert levels(check_chain(places)) == ["bad"]


def test_a_trail_without_a_signature_of_ours_is_told(places, key):
    assert check_checkpoint(places, HOUR_S, AT_NS).level == "warn"
    places.checkpoints_file.write_text(note(Ed25519PrivateKey.generate(), AT_NS))
    finding = check_checkpoint(places, HOUR_S, AT_NS)
    assert (finding.level, "none" in finding.text) == ("warn", True)


def test_a_trail_whose_public_key_is_gone_has_no_signature_of_ours(places):
    assert check_checkpoint(places, HOUR_S, AT_NS).level == "warn"


@pytest.mark.parametrize(("age_s", "level"), [(0, "ok"), (7200, "ok"), (7201, "warn")])
def test_a_signature_is_not_to_be_older_than_the_settings_ask(places, key, age_s, level):
    old = "".join(note(key, AT_NS - second) for second in range(9000, 8700, -1))
    places.checkpoints_file.write_text(old + note(key, AT_NS) + "torn")
    assert check_checkpoint(places, HOUR_S, AT_NS + age_s * 10**9).level == level


def test_checkpoints_that_stay_here_prove_less(tmp_path):
    assert check_copies(()).level == "warn"
    assert check_copies((tmp_path / "copy",)).level == "ok"


def test_a_copy_of_checkpoints_that_cannot_be_appended_to_is_told(tmp_path):
    (tmp_path / "copy").write_text("kept")
    assert check_copies((tmp_path / "copy",)).level == "ok"
    for wrong in (tmp_path, tmp_path / "none" / "copy", tmp_path / "copy" / "copy"):
        finding = check_copies((tmp_path / "copy", wrong))
        assert (finding.level, finding.about) == ("bad", str(wrong))
    assert (tmp_path / "copy").read_text() == "kept"


def test_rows_that_are_kept_for_ever_are_told():
    assert check_retention(None).level == "warn"
    assert check_retention("pci").about == "pci"


@pytest.mark.parametrize(
    ("networks", "level"),
    [
        ((), "ok"),
        (("127.0.0.0/8", "::1", "unix"), "ok"),
        (("10.1.0.0/16", "fd00::/8"), "ok"),
        (("0.0.0.0/0",), "bad"),
        (("0.0.0.0/1",), "bad"),
        (("10.0.0.0/7",), "bad"),
        (("::/0",), "bad"),
        (("192.0.2.0/24",), "bad"),
        (("127.0.0.1", "203.0.113.7"), "bad"),
    ],
)
def test_networks_with_strangers_are_not_to_read_metrics(networks, level):
    assert check_metrics(networks).level == level


@pytest.mark.parametrize(
    ("status", "level"), [(None, "ok"), (200, "ok"), (404, "ok"), (500, "warn")]
)
def test_a_server_that_runs_tells_this_machine_its_metrics(status, level):
    assert check_metrics_answer(status).level == level
