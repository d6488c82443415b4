"""Key files and their folders in, findings out; no key is shown and none is changed.

Files are opened by the functions that the server opens them with, so that what passes here passes
there. A signing key's age is that of its file: a key carries no date.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from security.errors import KeyFileError, RevocationError
from security.key_files import read_retired
from security.keys import open_signing_key, open_verifying_key, public_half
from security.revocations import decode_revocation
from server.doctor.finding import Finding, Level, bad, ok, sentence_of, warn

SIGNING_KEY_LIMIT_S = 365 * 86_400.0
_WRITABLE, _OPEN = 0o022, 0o077


def check_key_file(check: str, path: Path, open_key: Callable[[Path], object]) -> Finding:
    """Whether `open_key` takes the file, with all that it asks of owner, mode and content."""
    try:
        open_key(path)
    except KeyFileError as fault:
        remedy = "mend what it says, or bring the file back from its copy; never make it anew"
        return bad(check, sentence_of(fault), f"{remedy}.")
    return ok(check, "the key is there and closed to others.", str(path))


def check_folder(path: Path, *, is_secret: bool, euid: int) -> Finding:
    """Whether others can put something into a folder, or see into one that holds keys."""
    check, about = "folder", str(path)
    try:
        status = path.stat()
    except OSError as fault:
        text = f"it cannot be looked at ({fault.strerror})."
        return bad(check, text, "name the right data folder, or make it.", about)
    if not stat.S_ISDIR(status.st_mode):
        return bad(check, "it is no folder.", "name another one in the settings.", about)
    if status.st_uid != euid:
        return bad(check, "it belongs to another account.", "chown it to the server's.", about)
    if status.st_mode & _WRITABLE:
        return bad(check, "other accounts can put files into it.", "chmod go-w.", about)
    if is_secret and status.st_mode & _OPEN:
        return warn(check, "other accounts can see what lies in it.", "chmod 700.", about)
    return ok(check, "it is ours.", about)


def check_signing_key(path: Path, wall_s: float) -> Iterator[Finding]:
    """The private key, if this server makes tokens, and whether it is that of the public half."""
    check = "signing key"
    if not os.path.lexists(path) and os.path.lexists(public_half(path)):
        yield ok(check, "there is none: this server only verifies tokens.", str(path))
        return
    found = check_key_file(check, path, open_signing_key)
    yield found
    if found.level is not Level.OK:
        return
    yield check_signing_age(path, wall_s)
    try:
        is_pair = open_signing_key(path).public_key() == open_verifying_key(public_half(path))
    except KeyFileError:
        return  # told by who looks at it
    if not is_pair:
        text = "its .pub is of another key: no token that is made here would be taken."
        yield bad(check, text, "bring both halves back together, or rotate.", str(path))


def check_revocations(path: Path) -> Finding:
    """Whether everything that was revoked still is."""
    check, about = "revocations", str(path)
    if not os.path.lexists(path):
        return ok(check, "nothing was revoked.")
    if path.lstat().st_mode & _WRITABLE:
        return bad(check, "other accounts can change the list.", f"chmod 600 {path}.", about)
    try:
        for line in path.read_bytes().splitlines():
            decode_revocation(line)
    except (OSError, RevocationError):
        text = "a line says nothing, or the list cannot be read: the server will not start."
        return bad(check, text, "find out what it was, take it out, revoke again.", about)
    return ok(check, "each line of the list is whole.", about)


def check_signing_age(path: Path, wall_s: float) -> Finding:
    """Whether the key that signs tokens is due for a new one."""
    check, about = "signing key age", str(path)
    try:
        age_s = wall_s - path.lstat().st_mtime
    except OSError:
        return warn(check, "it is not known.", "see the signing key itself.", about)
    if age_s > SIGNING_KEY_LIMIT_S:
        return warn(check, "it is over a year.", "run.py keys rotate-signing.", about)
    return ok(check, "it is under a year.", about)


def check_publisher_key(path: Path, *, is_reachable: bool) -> Finding:
    """Whether who breaks into the server could sign packs that it trusts.

    `is_reachable`: other machines can connect to the server.
    """
    check = "publisher key"
    if not os.path.lexists(path):
        return ok(check, "its private half is not on this machine.")
    if not is_reachable:
        return ok(check, "its private half is here, as it is where packs are made.", str(path))
    text = "its private half lies on a server that others reach: who breaks in can sign packs."
    return warn(check, text, "move it to where packs are made; its .pub stays.", str(path))


def check_retired_keys(path: Path, wall_s: float) -> Finding:
    """Whether former signing keys, which still verify tokens, come to their end."""
    check, about = "retired keys", str(path)
    try:
        retired = read_retired(path).keys
    except KeyFileError as fault:
        return bad(check, sentence_of(fault), "bring the list back or delete it.", about)
    if any(key.expires_at_s is None for key in retired):
        return warn(check, "one of them has no end.", "give it an `exp`, or take it out.", about)
    if any(key.is_good(wall_s) for key in retired):
        return ok(check, "each has an end, some are in use until then.", about)
    return ok(check, "none is in use.")
