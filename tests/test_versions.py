"""No version with a known hole, neither installed nor allowed; SECURITY.md gives the reasons."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
FLOORS = {
    "cryptography": "50.0.2",  # releases the interpreter lock in the cipher; carries OpenSSL 4.0.3
    "h11": "0.16.0",  # CVE-2025-43859
    "pyjwt": "2.15.1",  # CVE-2022-29217, -2024-53861, -2026-32597, -2026-48522 to 48526
    "starlette": "1.3.1",  # CVE-2025-62727, -2026-48710, -2026-54283
    "uvicorn": "0.11.7",  # CVE-2020-7694, -2020-7695
    "websockets": "9.1",  # CVE-2018-1000518, -2021-33880
}
EACH = pytest.mark.parametrize(("name", "floor"), FLOORS.items())


def required(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    requirements = [Requirement(line) for line in lines]
    [found] = [r for r in requirements if canonicalize_name(r.name) == name]
    return found


@EACH
def test_what_is_installed_has_no_known_hole(name, floor):
    assert Version(version(name)) >= Version(floor)


@EACH
def test_nothing_older_can_be_installed(name, floor):
    bounds = [s.version for s in required(name).specifier if s.operator == ">="]
    assert [bound for bound in bounds if Version(bound) >= Version(floor)]


@EACH
def test_the_reason_is_written_down(name, floor):
    rows = (ROOT / "SECURITY.md").read_text().splitlines()
    assert any(row.startswith(f"| {name} | {floor} |") for row in rows)
