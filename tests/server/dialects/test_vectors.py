"""What clients of other people's APIs send and are sent, byte for byte: see `vectors`."""

import pytest

from tests.server.dialects import vectors

FILES = sorted(vectors.FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_what_is_sent_is_what_the_vector_says(path):
    lines = vectors.read(path)
    assert list(vectors.replayed(lines)) == lines


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_vector_has_the_name_of_its_dialect(path):
    assert path.stem.startswith(vectors.read(path)[0]["dialect"])
