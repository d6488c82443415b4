"""Defaults, file and environment to settings."""

from pathlib import Path

import pytest

from server.config import SettingsError, load_settings


def test_defaults_hold_without_a_file_and_an_environment():
    settings = load_settings()
    assert (settings.listen.host, settings.listen.port, settings.model) == (
        "127.0.0.1",
        8765,
        "tiny.en",
    )
    assert settings.pack_folder == Path("data/models/tiny.en")


def test_the_environment_reaches_into_the_groups(monkeypatch):
    monkeypatch.setenv("EARWITNESS_SESSION__IDLE_LIMIT_S", "60")
    monkeypatch.setenv("EARWITNESS_SESSION__TRACK__SEGMENTER__END_OF_SPEECH_MS", "700")
    session = load_settings().session
    assert (session.idle_limit_s, session.track.segmenter.end_of_speech_ms) == (60.0, 700)
    assert session.start_limit_s == 10.0


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ('["file:a", "env:B"]', ("file:a", "env:B")),
        ("vault:transit/kek", ("vault:transit/kek",)),
        ("", ()),
    ],
)
def test_a_list_in_the_environment_is_json_or_one_entry(monkeypatch, value, read):
    monkeypatch.setenv("EARWITNESS_PACKS__KEYS", value)
    assert load_settings().packs.keys == read


@pytest.mark.parametrize(
    ("value", "read"),
    [("/a,/b", ["/a", "/b"]), ("/a", ["/a"]), ('["/a", "/b"]', ["/a", "/b"]), ("", [])],
)
def test_copies_of_checkpoints_can_be_named_in_the_environment(monkeypatch, value, read):
    monkeypatch.setenv("EARWITNESS_AUDIT__CHECKPOINT_COPIES", value)
    assert list(map(str, load_settings().audit.checkpoint_copies)) == read


def test_a_folder_is_no_copy_of_checkpoints(monkeypatch, tmp_path):
    monkeypatch.setenv("EARWITNESS_AUDIT__CHECKPOINT_COPIES", str(tmp_path))
    with pytest.raises(SettingsError, match="checkpoint_copies: names a file, not a folder"):
        load_settings()


def test_the_environment_wins_over_the_file_and_an_argument_over_both(tmp_path, monkeypatch):
    file = tmp_path / "earwitness.toml"
    file.write_text('model = "base"\n[listen]\nport = 1\nhost = "::1"\n')
    assert load_settings(file).listen.port == 1
    monkeypatch.setenv("EARWITNESS_LISTEN__PORT", "2")
    assert load_settings(file).listen.port == 2
    settings = load_settings(file, listen={"port": 3})
    assert (settings.listen.port, settings.listen.host, settings.model) == (3, "::1", "base")


def test_all_faults_are_told_together_by_key_and_never_by_value(tmp_path):
    file = tmp_path / "earwitness.toml"
    file.write_text(
        'modle = "s3cret"\n[listen]\nport = "s3cret"\n[session]\nidle_limit_s = "s3cret"\n'
    )
    with pytest.raises(SettingsError) as wrong:
        load_settings(file)
    text = str(wrong.value)
    assert "s3cret" not in text
    assert all(key in text for key in ("modle", "listen.port", "session.idle_limit_s"))


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("SESSION__IDLE_LIMIT_S", "-1", "session.idle_limit_s"),
        ("LISTEN__PORT", "70000", "listen.port"),
        ("VAD", "ears", "vad"),
        ("SESSION__IDLE_LIMIT_S", "nan", "session.idle_limit_s"),
        ("WHISPER__GUARDS__LEAST_MEAN_LOG_PROBABILITY", "nan", "log_probability: a number"),
        ("CONNECTION__OUTBOX_EVENTS", "0", "connection.outbox_events"),
        ("WHISPER__N_WORKERS", "0", "whisper.n_workers"),
        ("WHISPER__N_THREADS", "0", "whisper.n_threads"),
        ("WHISPER__FINAL_BEAMS", "0", "whisper.final_beams"),
        ("WHISPER__FINAL_PATIENCE", "0", "whisper.final_patience"),
        ("WHISPER__DEVICE", "abacus", "whisper.device"),
        ("SCHEDULER__BATCH_LIMIT_S", "0", "scheduler.batch_limit_s"),
        ("SCHEDULER__BACKLOG__MOST_UTTERANCES", "0", "scheduler.backlog.most_utterances"),
        ("SCHEDULER__BACKLOG__LOAD_WINDOW_S", "0", "scheduler.backlog.load_window_s"),
        ("SCHEDULER__BACKLOG__BUSY_SHARE", "2", "scheduler.backlog.busy_share"),
        ("SCHEDULER__BACKLOG__MOST_FINAL_SHARE", "1.5", "scheduler.backlog.most_final_share"),
        ("MODEL", "../keys", "model"),
        ("MODEL", "..", "model"),
        ("MODEL", "", "model"),
        ("LISTEN__BOGUS", "1", "listen.bogus"),
        ("LISTEN", "{", '"listen"'),
        ("PACKS__KEYS", "[", "packs.keys"),
    ],
)
def test_a_value_out_of_range_is_refused(monkeypatch, name, value, key):
    monkeypatch.setenv(f"EARWITNESS_{name}", value)
    with pytest.raises(SettingsError, match=key):
        load_settings()


def test_a_group_that_cannot_be_read_from_the_environment_is_told_without_what_it_says(monkeypatch):
    monkeypatch.setenv("EARWITNESS_LISTEN", "{s3cret")
    with pytest.raises(SettingsError) as wrong:
        load_settings()
    assert "s3cret" not in str(wrong.value)
    assert "listen" in str(wrong.value)


def test_the_clients_variables_are_not_the_servers(monkeypatch):
    monkeypatch.setenv("EARWITNESS_TOKEN", "a.b.c")
    monkeypatch.setenv("EARWITNESS_URL", "ws://127.0.0.1:1/v1/stream")
    monkeypatch.setenv("EARWITNESS_AUDIO", "somewhere")
    monkeypatch.setenv("EARWITNESS_WHEELS", "somewhere")
    assert load_settings().token_policy.issuer == "earwitness"


OTHER = {"issuer": "https://id.test", "audience": "a", "algorithm": "ES256", "keys": "idp.pem"}


def test_other_issuers_are_tables_of_the_file(tmp_path):
    file = tmp_path / "earwitness.toml"
    lines = [f"{name} = {value!r}" for name, value in OTHER.items()]
    file.write_text("\n".join(["[[issuers]]", *lines, "max_age_s = 60", "ca_file = 'ca.pem'"]))
    [issuer] = load_settings(file).issuers
    assert (issuer.issuer, issuer.max_age_s, issuer.ca_file) == (
        OTHER["issuer"],
        60,
        Path("ca.pem"),
    )


@pytest.mark.parametrize(
    ("others", "key"),
    [
        ([{**OTHER, "keys": "http://id.test/jwks"}], "issuers.0.keys"),
        ([OTHER, {**OTHER, "issuer": "b", "leeway_s": -1}], "issuers.1.leeway_s"),
        ([OTHER, OTHER], "issuers: each once"),
        ([{**OTHER, "issuer": "earwitness"}], "issuers: each once"),
        ([{**OTHER, "algorithm": "none"}], "issuers.0.algorithm"),
        ([{**OTHER, "bogus": 1}], "issuers.0.bogus"),
        ([{"issuer": "s3cret"}], "issuers.0.keys"),
    ],
)
def test_an_issuer_that_is_wrong_is_told_by_its_place(others, key):
    with pytest.raises(SettingsError, match=key) as wrong:
        load_settings(issuers=others)
    assert "s3cret" not in str(wrong.value)


def test_our_own_tokens_have_the_algorithm_that_our_key_is_made_for(monkeypatch):
    monkeypatch.setenv("EARWITNESS_TOKEN_POLICY__ALGORITHM", "RS256")
    with pytest.raises(SettingsError, match=r"token_policy\.algorithm"):
        load_settings()


def test_a_group_that_is_no_group_is_told_by_its_name(monkeypatch):
    monkeypatch.setenv("EARWITNESS_LISTEN", "s3cret")
    with pytest.raises(SettingsError, match="listen") as wrong:
        load_settings()
    assert "s3cret" not in str(wrong.value)


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(Path("nowhere.toml"))


def test_a_file_that_is_not_toml_is_told(tmp_path):
    file = tmp_path / "earwitness.toml"
    file.write_text("model = = ")
    with pytest.raises(SettingsError, match=r"earwitness\.toml: not TOML"):
        load_settings(file)


@pytest.mark.parametrize("name", ["", "a b"])
def test_our_own_issuer_has_a_name_without_spaces(name):
    with pytest.raises(SettingsError, match=r"token_policy\.issuer"):
        load_settings(token_policy={"issuer": name, "audience": "a"})


@pytest.mark.parametrize("name", ["", "a"])
def test_the_audience_of_administrators_is_another_than_that_of_sessions(name):
    policy = {"issuer": "i", "audience": "a", "admin_audience": name}
    with pytest.raises(SettingsError, match="admin_audience"):
        load_settings(token_policy=policy)


def test_a_provider_of_identities_is_a_table_of_the_file(tmp_path):
    (tmp_path / "e.toml").write_text(
        "[sign_in]\nlongest_s = 3600\n"
        '[sign_in.provider]\nissuer = "https://id.example/realms/ward"\nclient_id = "page"\n'
        'name = "Ward Login"\nclient_secret_file = "secret"\nscopes = ["openid", "groups"]\n'
    )
    sign_in = load_settings(tmp_path / "e.toml").sign_in
    assert (sign_in.longest_s, sign_in.code_lifetime_s) == (3600, 600)
    assert sign_in.provider is not None
    assert sign_in.provider.client_secret_file == Path("secret")
    assert sign_in.provider.scopes == ("openid", "groups")


def test_a_provider_that_cannot_be_trusted_is_told_by_its_place(tmp_path):
    (tmp_path / "e.toml").write_text(
        '[sign_in]\naddress = "http://a.example"\n'
        '[sign_in.provider]\nissuer = "http://id.example"\nclient_id = "page"\nname = "W"\n'
    )
    with pytest.raises(SettingsError) as fault:
        load_settings(tmp_path / "e.toml")
    assert "sign_in.address:" in str(fault.value)
    assert "sign_in.provider.issuer:" in str(fault.value)
    assert "id.example" not in str(fault.value)


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_a_provider_signs_with_a_key_of_its_own(tmp_path, algorithm):
    (tmp_path / "e.toml").write_text(
        '[sign_in.provider]\nissuer = "https://id.example"\nclient_id = "page"\nname = "W"\n'
        f'algorithm = "{algorithm}"\n'
    )
    with pytest.raises(SettingsError, match=r"sign_in\.provider\.algorithm"):
        load_settings(tmp_path / "e.toml")
