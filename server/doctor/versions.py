"""The requirements of this package in, whether what is installed meets them out.

Their lower bounds keep known holes out (SECURITY.md gives the reasons) and have one source, the
package's own metadata. What an extra asks for counts where it is installed.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

from server.doctor.finding import Finding, bad, ok

_NEEDED_EXTRAS = ("", "server")
_DEVELOPERS_EXTRAS = ("test", "bench", "bench-packs", "fuzz")


def check_versions(
    lines: Iterable[str], extras: Iterable[str], installed: Callable[[str], str | None]
) -> list[Finding]:
    """A finding for each package that is not as it should be; one if all are.

    `lines` are requirements as metadata has them, `extras` all that there are.
    """
    optional = [name for name in extras if name not in {*_NEEDED_EXTRAS, *_DEVELOPERS_EXTRAS}]
    faults: list[Finding] = []
    for requirement in map(Requirement, lines):
        is_needed = _is_of(requirement, _NEEDED_EXTRAS)
        if is_needed or _is_of(requirement, optional):
            faults += _faults_of(requirement, installed(requirement.name), is_needed=is_needed)
    return faults or [ok("versions", "no library is older than it may be.")]


def installed_version(name: str) -> str | None:
    """None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_of(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    if marker is None:
        return True
    return any(marker.evaluate({"extra": extra}) for extra in extras)


def _faults_of(requirement: Requirement, found: str | None, *, is_needed: bool) -> list[Finding]:
    remedy = "pip install --upgrade '.[server]', with the extras that you use."
    if found is None:
        text = "it is not installed."
        return [bad("versions", text, remedy, requirement.name)] if is_needed else []
    if requirement.specifier.contains(found, prereleases=True):
        return []
    about = f"{requirement.name} {found}"
    text = f"it is not {requirement.specifier}; older ones have known holes or faults."
    return [bad("versions", text, remedy, about)]
