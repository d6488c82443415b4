"""Requirements, as a package's metadata has them, beside what is installed."""

from importlib.metadata import metadata, requires

import pytest

from server.doctor.versions import check_versions, installed_version

LINES = (
    "msgspec>=0.20",
    'pyjwt>=2.15.1; extra == "server"',
    'uvloop>=0.21; sys_platform != "linux" and extra == "server"',
    'redis>=5.0; extra == "redis"',
    'ruff>=0.14; extra == "test"',
)
EXTRAS = ("server", "redis", "test")
WELL = {"msgspec": "0.20", "pyjwt": "2.16rc1"}


def levels(**changed):
    there = {**WELL, **changed}
    findings = check_versions(LINES, EXTRAS, there.get)
    return [(finding.level, finding.about) for finding in findings]


def test_what_is_new_enough_is_well():
    assert levels() == [("ok", "")]
    assert levels(ruff="0.1", uvloop="0.1", redis="5.1") == [("ok", "")]


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        ({"pyjwt": "2.15.0"}, "pyjwt 2.15.0"),
        ({"pyjwt": None}, "pyjwt"),
        ({"msgspec": "0.19"}, "msgspec 0.19"),
        ({"redis": "4.9"}, "redis 4.9"),
    ],
)
def test_what_is_older_or_missing_is_bad(changed, about):
    assert levels(**changed) == [("bad", about)]


def test_the_bounds_come_from_this_package():
    lines = requires("earwitness")
    assert any(line.startswith("pyjwt>=") for line in lines)
    extras = metadata("earwitness").get_all("Provides-Extra")
    assert [f.level for f in check_versions(lines, extras, installed_version)] == ["ok"]


def test_what_is_not_installed_has_no_version():
    assert installed_version("no-such-package") is None
