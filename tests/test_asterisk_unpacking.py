"""`.ci/asterisk` says in a line why a machine cannot have an Asterisk, and leaves nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "asterisk"
ALWAYS_THERE = ("bash", "dirname", "rm", "mkdir", "sed", "sort", "timeout")


@pytest.fixture
def unpack(tmp_path):
    """Runs it in a checkout of its own, where these programs answer so."""

    def run(**programs):
        checkout, path = tmp_path / "checkout", tmp_path / "programs"
        (checkout / ".ci").mkdir(parents=True)
        shutil.copy(SCRIPT, checkout / ".ci")
        path.mkdir()
        for name in ALWAYS_THERE:
            (path / name).symlink_to(shutil.which(name))
        for name, body in programs.items():
            program = path / name.replace("_", "-")
            program.write_text(f"#!{path / 'bash'}\n{body}\n")
            program.chmod(0o755)
        done = subprocess.run(  # noqa: S603 (our own script)
            [checkout / ".ci" / "asterisk"],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        left = sorted(path.name for path in (checkout / "build").glob("*"))
        return done.returncode, done.stderr.splitlines(), left

    return run


def test_a_machine_without_apt_is_told_so(unpack):
    assert unpack() == (3, ["no Asterisk for the tests: this is no Debian"], [])


def test_a_machine_without_sources_is_told_so(unpack):
    code, (line,), left = unpack(apt_get="true", dpkg_deb="true")
    assert (code, left) == (3, [])
    assert "no apt source of this machine has the release" in line
