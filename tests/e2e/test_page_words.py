"""Recordings into the page's microphone, words beside those that the Python client brings."""

from pathlib import Path

import pytest

from bench.page_wer import row_of, texts_of_pages, wav_of
from bench.scoring import score
from client.stream import transcribe_file_blocking
from tests.web.browser import CHROMIUM

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: /usr/bin/chromium")
POINTS_APART = 0.02
SPOKEN = ("vctk-p225-011", "vctk-p225-020", "libri-1272-128104-0000")
"""Their words are the same wherever a frame begins; a page's frames begin where they like. A name
that the model hears this way or that, as "Whittemore" is, would count for neither side."""


@pytest.mark.shared
def test_the_page_hears_as_well_as_the_client(live_server, shared_audio, tmp_path: Path):
    recordings = {recording.id: recording for recording in shared_audio}
    row = row_of([recordings[name] for name in SPOKEN])
    wav = tmp_path / "row.wav"
    wav.write_bytes(wav_of(row))
    brought = transcribe_file_blocking(live_server.stream_url, live_server.token(), wav).text
    heard, _ = texts_of_pages(wav, row, f"{live_server.page_url}/", live_server.token())
    assert score(row.text, heard).wer <= score(row.text, brought).wer + POINTS_APART
