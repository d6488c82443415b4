"""The embedded model, opened from its pack in memory, for all tests of a file that need it."""

from collections.abc import Iterator

import pytest

from security.weights import open_pack
from server.config import Settings
from server.engines.whisper_ct2 import WhisperCt2, WhisperSettings
from server.packs import pack_trust


@pytest.fixture(scope="module")
def model(embedded_model_pack: Settings) -> Iterator[WhisperCt2]:
    with open_pack(embedded_model_pack.pack_folder, pack_trust(embedded_model_pack)) as pack:
        yield WhisperCt2("tiny.en", pack.files, WhisperSettings())
