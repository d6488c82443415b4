"""A file that comes in chunks."""

import pytest

from server.errors import RefusedError
from server.upload import Upload


def test_chunks_lie_one_behind_the_other():
    upload = Upload(10)
    upload.append(b"0123")
    upload.append(memoryview(b"456789"))
    assert upload.view == b"0123456789"


def test_what_does_not_fit_is_refused_whole():
    upload = Upload(10)
    upload.append(b"0123")
    with pytest.raises(RefusedError) as refused:
        upload.append(b"4567890")
    assert refused.value.refusal.http_status == 413
    assert upload.view == b"0123"


def test_it_ends_as_zeros():
    upload = Upload(10)
    upload.append(b"secret")
    view = upload.view
    upload.wipe()
    assert not any(view)


def test_no_room_for_anything_is_room_for_nothing():
    upload = Upload(0)
    upload.append(b"")
    assert upload.view == b""
