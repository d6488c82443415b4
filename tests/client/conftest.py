"""What the client's tests share."""

import os
from contextlib import suppress

import pytest


@pytest.fixture
def pipe():
    """A reading and a writing end."""
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        with suppress(OSError):
            os.close(end)
