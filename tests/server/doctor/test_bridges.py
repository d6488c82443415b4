"""Telephone systems' secrets, as they should be and as they are found."""

from server.bridge_settings import BridgeSettings, DialectName
from server.doctor.bridges import check_bridges

ADDRESS = "wss://calls.example/v1/bridges/pbx"


def signed(secret_file):
    media = DialectName.MEDIA_STREAMS
    return BridgeSettings("pbx", media, secret_file=secret_file, address=ADDRESS)


def test_a_bridge_without_a_secret_is_well():
    [finding] = check_bridges((BridgeSettings("pbx", DialectName.ASTERISK),))
    assert (finding.level, finding.about) == ("ok", "/v1/bridges/pbx")


def test_a_secret_that_is_there_and_closed_to_others_is_well(tmp_path):
    secret_file = tmp_path / "secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text("hush\n")
    [finding] = check_bridges((signed(secret_file),))
    assert finding.level == "ok"
    assert "hush" not in finding.line


def test_a_secret_that_is_missing_or_open_to_others_is_bad(tmp_path):
    open_file = tmp_path / "open"
    open_file.write_text("hush\n")
    open_file.chmod(0o644)
    findings = list(check_bridges((signed(tmp_path / "none"), signed(open_file))))
    assert [finding.level for finding in findings] == ["bad", "bad"]
