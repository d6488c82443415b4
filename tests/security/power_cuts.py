"""The system calls of a process in, the disk as a power cut at any of them would leave it out.

What was written to a file and not synced may be there, or not, or in part. Names come and go at
once, as a journalling file system keeps them in order.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512
"""Which a disk writes as a whole or not at all."""
CALLS = "openat,close,write,pwrite64,fsync,fdatasync,ftruncate,unlink,rename,link"
_DONE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?: .*)?", re.DOTALL)
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>", re.DOTALL)
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(?: .*)?", re.DOTALL)
_WRITTEN = re.compile(r'(\d+), "(.*)", (\d+)(?:, (\d+))?', re.DOTALL)
_STRING = re.compile(r'"([^"]*)"')


@dataclass
class Node:
    """A file: what is on the disk, and what was written since and may not be."""

    synced: bytes = b""
    waiting: list = field(default_factory=list)
    """Of an offset and the bytes there, or a length and None."""

    def content(self, chance, kept):
        """After a power cut; each write that waits is there with the probability `kept`."""
        content = bytearray(self.synced)
        for at, written in self.waiting:
            if chance.random() >= kept:
                continue
            if written is not None and chance.random() < 0.2:
                end = (at + chance.randrange(len(written) + 1)) // SECTOR_BYTES * SECTOR_BYTES
                written = written[: max(0, end - at)]
            _apply(content, at, written)
        return bytes(content)

    @property
    def length_bytes(self):
        content = bytearray(self.synced)
        for at, written in self.waiting:
            _apply(content, at, written)
        return len(content)

    def sync(self):
        content = bytearray(self.synced)
        for at, written in self.waiting:
            _apply(content, at, written)
        self.synced, self.waiting = bytes(content), []


class Disk:
    """Follows the calls, a line of strace each."""

    def __init__(self, folder):
        self._folder = str(folder)
        self.names = {}
        self.acknowledged = []
        self._open = {}
        self._begun = {}

    def receive(self, line):
        """Whether something has changed."""
        if found := _BEGUN.fullmatch(line):
            self._begun[found[1]] = found[3]
            return False
        if found := _RESUMED.fullmatch(line):
            given = self._begun.pop(found[1]) + found[3]
            return self._do(found[2], given, int(found[4]))
        if found := _DONE.fullmatch(line):
            return self._do(found[2], found[3], int(found[4]))
        return False

    def write_to(self, folder, chance, kept):
        """As it would be found after a power cut now."""
        for name, node in self.names.items():
            path = folder / Path(name).relative_to(self._folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o700)
            path.write_bytes(node.content(chance, kept))
            path.chmod(0o600)

    def _do(self, call, given, result):
        if result < 0:
            return False
        match call:
            case "openat":
                return self._do_open(given, result)
            case "close":
                self._open.pop(int(given), None)
                return False
            case "write" | "pwrite64":
                return self._do_write(given, result)
            case "fsync" | "fdatasync" if int(given) in self._open:
                self._open[int(given)][0].sync()
            case "ftruncate" if int(given.split(",")[0]) in self._open:
                number, length = map(int, given.split(","))
                self._open[number][0].waiting.append((length, None))
            case "unlink" | "rename" | "link" if self._folder in given:
                names = _STRING.findall(given)
                node = self.names[names[0]] if call == "link" else self.names.pop(names[0])
                if call != "unlink":
                    self.names[names[1]] = node
            case _:
                return False
        return True

    def _do_open(self, given, number):
        name = _STRING.search(given)[1]
        self._open.pop(number, None)
        if not name.startswith(self._folder) or "O_DIRECTORY" in given:
            return False
        if name not in self.names and "O_CREAT" not in given:
            return False
        node = self.names.setdefault(name, Node())
        at = None if "O_APPEND" in given else 0
        self._open[number] = [node, at]
        return "O_CREAT" in given

    def _do_write(self, given, n_bytes):
        number, text, _, offset = _WRITTEN.fullmatch(given).groups()
        content = text.encode("latin-1")[:n_bytes]
        if number == "1":
            self.acknowledged.append(int(content))
            return True
        if int(number) not in self._open:
            return False
        entry = self._open[int(number)]
        at = int(offset) if offset is not None else entry[1]
        if offset is None and at is not None:
            entry[1] += n_bytes
        entry[0].waiting.append((entry[0].length_bytes if at is None else at, content))
        return True


def _apply(content, at, written):
    if written is None:
        content[at:] = bytes(max(0, at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(written)] = written
