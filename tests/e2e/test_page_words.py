"""Recordings into the page's microphone, words beside those that the Python client brings."""

from pathlib import Path

import pytest

from bench.page_wer import row_of, texts_of_pages, wav_of
from bench.scoring import score
from client.stream import transcribe_file_blocking
from tests.web.browser import CHROMIUM

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: /usr/bin/chromium")
POINTS_APART = 0.02


@pytest.mark.shared
def test_the_page_hears_as_well_as_the_client(live_server, shared_audio, tmp_path: Path):
    spoken = [r for r in shared_audio if r.id.startswith("arctic-aew")][:2]
    row = row_of(spoken)
    wav = tmp_path / "row.wav"
    wav.write_bytes(wav_of(row))
    brought = transcribe_file_blocking(live_server.stream_url, live_server.token(), wav).text
    heard, _ = texts_of_pages(wav, row, f"{live_server.page_url}/", live_server.token())
    assert score(row.text, heard).wer <= score(row.text, brought).wer + POINTS_APART
