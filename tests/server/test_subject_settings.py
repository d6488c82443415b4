"""What a setting may say about Redis."""

from dataclasses import replace

import pytest

from server.subject_settings import SubjectSettings, split_redis_url, subject_faults

SETTINGS = SubjectSettings()


def test_the_defaults_have_no_fault():
    assert subject_faults(SETTINGS) == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://redis.test:6380/3",
        "rediss://earwitness@redis.test",
        "redis://[::1]:6379",
    ],
)
def test_addresses(url):
    assert subject_faults(replace(SETTINGS, redis_url=url)) == []
    assert split_redis_url(url).hostname


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis://",
        "redis://:6379",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:port",
        "redis://host/first",
        "redis://host?ssl_cert_reqs=none",
        "redis://[::1",
        "http://host",
        "redis://:canary@host",
        "redis://user:canary@host",
        "redis://us@er@host",
        "redis://user@host/0\n",
    ],
)
def test_what_is_no_address_is_a_fault_that_does_not_repeat_it(url):
    [fault] = subject_faults(replace(SETTINGS, redis_url=url))
    assert fault.startswith("redis_url: ")
    assert "canary" not in fault
    with pytest.raises(ValueError, match=r"^(?!.*canary)"):
        split_redis_url(url)


@pytest.mark.parametrize("place", ["file:keys/redis.password", "env:REDIS_PASSWORD"])
def test_a_password_lies_somewhere(place):
    assert subject_faults(replace(SETTINGS, redis_password_from=place)) == []


@pytest.mark.parametrize("place", ["canary", "file:", "env:canary", "", "env:"])
def test_a_password_itself_is_a_fault_that_does_not_repeat_it(place):
    [fault] = subject_faults(replace(SETTINGS, redis_password_from=place))
    assert fault.startswith("redis_password_from: ")
    assert "canary" not in fault


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("key_prefix", ""),
        ("key_prefix", "a{b}"),
        ("key_prefix", "a" * 65),
        ("answer_limit_s", 0.0),
        ("answer_limit_s", 1.0),
        ("renewal_s", 0.0),
        ("renewal_s", 13.3),
        ("lease_s", 19.0),
    ],
)
def test_what_cannot_work_is_a_fault(key, value):
    [fault] = subject_faults(replace(SETTINGS, **{key: value}))
    assert fault.startswith("renewal_s" if key == "lease_s" else key)
