"""The trail's places and settings in; whether it can still be proven, and is watched, out.

Whether the trail is whole is for `doctor.trail` and `run.py audit verify` to say. Here it is asked
what makes a proof possible later: keys where they belong, signatures that go on, files that may go
one day. Nothing is opened that could be changed by opening it.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from ipaddress import ip_network
from pathlib import Path

from security.checkpoint import Checkpoint, open_checkpoint, split_notes
from security.errors import KeyFileError
from security.keys import open_verifying_key, public_half
from security.trail_places import TrailPlaces
from server.doctor.finding import Finding, bad, ok, warn
from server.forwarded import UNIX

_TAIL_BYTES = 65_536
"""Where the newest checkpoints are; one is about 400 bytes."""
_NS = 1_000_000_000
_OVERDUE = 2
"""Times the settings' span between checkpoints; nothing is signed while nothing happens."""
_PRIVATE = [
    ip_network(entry)
    for entry in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"),
    )
]
_VERIFY = "run.py audit verify tells what is wrong; keep the trail as it is until then."


def check_auditor_key(path: Path) -> Finding:
    """Whether the key that opens every MAC still lies where the trail does."""
    check, about = "auditor key", str(path)
    if not os.path.lexists(path):
        return ok(check, "it is not on this machine.")
    text = "it is still here: whoever takes this machine can rewrite the trail from its first row."
    remedy = "give it to the auditor, on a medium of their own, then delete it here."
    return warn(check, text, remedy, about)


def check_chain(places: TrailPlaces) -> list[Finding]:
    """Whether the files that bind the rows are there, and closed to others."""
    check = "chain"
    if not places.segment_files():
        return [ok(check, "there is no trail yet; the first start makes it.", str(places.folder))]
    files = (places.chain_key_file, places.head_file, places.signing_key_file)
    faults = [fault for path in files for fault in _file_faults(check, path)]
    return faults or [ok(check, "its keys are there and closed to others.")]


def check_checkpoint(places: TrailPlaces, every_s: float, wall_ns: int) -> Finding:
    """How long ago the trail was signed last, by a note that our key has signed."""
    check, about = "checkpoint", str(places.checkpoints_file)
    if not places.segment_files():
        return ok(check, "there is no trail yet.")
    newest = _newest_checkpoint(places)
    if newest is None:
        text = "the trail has none yet, or none that its key has signed."
        return warn(check, text, "run.py audit checkpoint makes one.", about)
    age_s = (wall_ns - newest.at_utc_ns) / _NS
    if age_s > _OVERDUE * every_s:
        text = "the newest is older than twice audit.checkpoint_every_s."
        remedy = "is a server running? If so look at its log; else run.py audit checkpoint."
        return warn(check, text, remedy, about)
    return ok(check, "the newest is as young as the settings ask.", about)


def check_copies(copies: Sequence[Path]) -> Finding:
    """Whether checkpoints go anywhere that this machine cannot take them back from."""
    check = "checkpoint copy"
    failing = next((path for path in copies if not _can_append(path)), None)
    if failing is not None:
        text = "it cannot be appended to: checkpoints do not get there."
        return bad(check, text, "make its folder, and let this account write there.", str(failing))
    if copies:
        return ok(check, "checkpoints go to another place, too.")
    text = "checkpoints lie on this machine only: its administrator can begin a new history."
    return warn(check, text, "set audit.checkpoint_copies to a file on another machine.")


def check_retention(profile: str | None) -> Finding:
    """Whether it is said how long rows are kept."""
    check = "retention"
    if profile is None:
        text = "no profile is set: rows, which name people, are kept for ever."
        return warn(check, text, "set audit.retention, and run run.py audit retain now and then.")
    return ok(check, "a profile says how long rows are kept.", profile)


def check_metrics(networks: Sequence[str]) -> Finding:
    """Whether strangers could read the figures."""
    check, about = "metrics", " ".join(networks)
    if not networks:
        return ok(check, "nobody may read them.")
    if all(_is_private(entry) for entry in networks):
        return ok(check, "only private networks may read them.", about)
    text = "listen.metrics_from names networks with strangers in them."
    return bad(check, text, "name the addresses of your Prometheus alone.", about)


def check_metrics_answer(status: int | None) -> Finding:
    """Of our own server, asked from this machine; None: none runs."""
    check = "metrics answer"
    match status:
        case None:
            return ok(check, "no server runs to be asked.")
        case HTTPStatus.OK:
            return ok(check, "they can be scraped from this machine.")
        case HTTPStatus.NOT_FOUND:
            return ok(check, "this machine is not told them: the settings do not name it.")
        case _:
            remedy = "look at the server's log."
            return warn(check, "the server answers with a fault.", remedy)


def _can_append(path: Path) -> bool:
    """Without making it, or adding anything."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        return path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)
    except OSError:
        return False
    return True


def _is_private(entry: str) -> bool:
    if entry == UNIX:
        return True
    network = ip_network(entry)
    return any(
        network.version == private.version
        and private.prefixlen <= network.prefixlen
        and network.network_address in private
        for private in _PRIVATE
    )


def _newest_checkpoint(places: TrailPlaces) -> Checkpoint | None:
    try:
        key = open_verifying_key(public_half(places.signing_key_file))
        with places.checkpoints_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            notes = split_notes(file.read().decode("utf-8", "replace"))
    except (KeyFileError, OSError):
        return None
    opened = (open_checkpoint(note, key) for note in reversed(notes))
    return next((each for each in opened if each is not None), None)


def _file_faults(check: str, path: Path) -> Iterator[Finding]:
    about = str(path)
    try:
        status = path.lstat()
    except OSError:
        yield bad(check, "it is gone: the server will not open the trail.", _VERIFY, about)
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        yield bad(check, "it is no file of ours.", _VERIFY, about)
    elif status.st_mode & 0o077:
        yield bad(check, "other accounts can read it.", "chmod 600.", about)
