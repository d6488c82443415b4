"""A Redis that can be shared, and those that cannot."""

import pytest

from server.doctor.redis_store import check_redis, version_finding
from server.subject_settings import SubjectSettings
from tests.redis_server import RedisServer, free_port, needs_redis


def test_who_shares_nothing_needs_none():
    assert check_redis(SubjectSettings()) == []


def test_who_shares_without_the_library_is_told():
    [finding] = check_redis(SubjectSettings(redis_url="redis://127.0.0.1:1"), lambda name: None)
    assert (finding.level, "not installed" in finding.text) == ("bad", True)


@needs_redis
def test_one_that_answers_tells_its_version(tmp_path):
    with RedisServer(tmp_path) as server:
        [finding] = check_redis(SubjectSettings(redis_url=server.url))
        assert (finding.level, finding.about[0].isdigit()) == ("ok", True)


@needs_redis
def test_one_that_does_not_answer_is_bad_in_time(tmp_path):
    with RedisServer(tmp_path) as server:
        server.pause()
        [finding] = check_redis(SubjectSettings(redis_url=server.url))
        server.go_on()
    assert (finding.level, "does not answer" in finding.text) == ("bad", True)


@needs_redis
def test_one_that_wants_a_password_is_bad(tmp_path):
    with RedisServer(tmp_path, ["--requirepass", "x"]) as server:
        [finding] = check_redis(SubjectSettings(redis_url=server.url))
    assert finding.level == "bad"


def test_one_that_is_not_there_is_bad():
    [finding] = check_redis(SubjectSettings(redis_url=f"redis://127.0.0.1:{free_port()}"))
    assert finding.level == "bad"


def test_a_password_that_cannot_be_read_is_bad(tmp_path):
    place = f"file:{tmp_path / 'none'}"
    settings = SubjectSettings(redis_url="redis://127.0.0.1:1", redis_password_from=place)
    [finding] = check_redis(settings)
    assert (finding.level, "password" in finding.text) == ("bad", True)


@pytest.mark.parametrize(
    ("version", "level", "about"),
    [
        ("7.0.15", "ok", "7.0.15"),
        ("5.0.0", "ok", "5.0.0"),
        ("4.0.14", "bad", "4.0.14"),
        ("words of a stranger", "ok", ""),
    ],
)
def test_one_that_is_too_old_is_bad(version, level, about):
    finding = version_finding(version)
    assert (finding.level, finding.about) == (level, about)
