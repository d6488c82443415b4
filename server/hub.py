"""The name of a repository on the model hub in, its files out, read as they are sealed.

Nothing is kept on the way: each file is streamed from the hub into the pack, a few megabytes at a
time. What the hub said of a file before, its length and its hash, is what its bytes must come to,
so that a download that was cut short or changed seals nothing. Which hub and with whose token is
for `huggingface_hub` to say (`HF_ENDPOINT`, `HF_TOKEN`). Raises HubError.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff
from typing_extensions import Buffer, override

from security.errors import SealError
from server.model_folder import INDEX_NAME, needed_files

CHUNK_BYTES = 16 << 20
_OK, _PARTIAL = 200, 206


class HubError(SealError):
    """The hub gave nothing that can be sealed; the text says what to do."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """One revision of a model."""

    commit: str
    files: Mapping[str, "HubFile"]


class HubFile(io.BufferedIOBase):
    """A file of the hub, to be read once from its start to its end."""

    def __init__(self, url: str, n_bytes: int, sha256: str | None, blob_id: str | None) -> None:
        """`sha256` of a large file; `blob_id`, git's SHA-1, of a small one."""
        self._url = url
        self._n_bytes = n_bytes
        self._expected = sha256 or blob_id
        self._hashed = hashlib.sha256()
        if sha256 is None:
            self._hashed = hashlib.sha1(b"blob %d\0" % n_bytes, usedforsecurity=False)
        self._at = 0
        self._chunk = b""

    @override
    def readable(self) -> bool:
        return True

    @override
    def seek(self, offset_bytes: int, whence: int = io.SEEK_SET, /) -> int:
        """Only to tell its length: it is read from where it was."""
        return self._n_bytes + offset_bytes if whence == io.SEEK_END else offset_bytes

    @override
    def readinto(self, buffer: Buffer) -> int:
        """The next bytes; the last ones only if all are what they should be. Raises HubError."""
        view = memoryview(buffer).cast("B")
        if not self._chunk and self._at < self._n_bytes:
            self._chunk = self._fetch()
            self._hashed.update(self._chunk)
            self._at += len(self._chunk)
            if self._at == self._n_bytes and self._hashed.hexdigest() != self._expected:
                raise HubError("what the hub sent is not what it said it would: try again")
        part, self._chunk = self._chunk[: len(view)], self._chunk[len(view) :]
        view[: len(part)] = part
        return len(part)

    def peek(self) -> bytes:
        """Its first bytes, not yet held to its hash. Raises HubError."""
        return self._fetch()

    def _fetch(self) -> bytes:
        end = min(self._at + CHUNK_BYTES, self._n_bytes)
        headers = build_hf_headers(library_name="earwitness")
        is_whole = end - self._at == self._n_bytes
        if not is_whole:
            headers["Range"] = f"bytes={self._at}-{end - 1}"
        with _told_as_hub_error():
            response = http_backoff("GET", self._url, headers=headers)
            hf_raise_for_status(response)
        content: bytes = response.content
        if (
            response.status_code != (_OK if is_whole else _PARTIAL)
            or len(content) != end - self._at
        ):
            raise HubError("the hub sent another length than it said it would: try again")
        return content


def open_hub_model(repository: str, revision: str, endpoint: str | None = None) -> HubModel:
    """What a transformers model needs, to be streamed. Raises HubError and SealError."""
    with _told_as_hub_error():
        about = HfApi(endpoint).model_info(repository, revision=revision, files_metadata=True)
    files: dict[str, HubFile] = {}
    for sibling in about.siblings or []:
        if sibling.size is not None:
            files[sibling.rfilename] = HubFile(
                hf_hub_url(repository, sibling.rfilename, revision=about.sha, endpoint=endpoint),
                sibling.size,
                sibling.lfs.sha256 if sibling.lfs else None,
                sibling.blob_id,
            )
    index = None
    if INDEX_NAME in files:
        index = files[INDEX_NAME].peek()
    kept = needed_files(files, index)
    return HubModel(str(about.sha), {name: files[name] for name in sorted(kept)})


@contextmanager
def _told_as_hub_error() -> Iterator[None]:
    try:
        yield
    except HFValidationError:
        raise HubError("a repository is named OWNER/NAME") from None
    except HfHubHTTPError:
        text = "the hub refuses: is the repository's name right, and is HF_TOKEN needed for it?"
        raise HubError(text) from None
    except Exception:  # noqa: BLE001 - the errors of the HTTP library that the hub's own uses
        text = "the hub cannot be reached: bring the model's folder here, then run.py seal folder"
        raise HubError(text) from None
