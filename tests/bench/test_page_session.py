"""What the bench counts of a long session on the page, in a short one."""

import pytest

from bench.page_session import measure
from tests.web.browser import CHROMIUM

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: /usr/bin/chromium")


def test_a_long_session_loses_no_sample_and_no_segment():
    figures = measure(length_s=20, times=2, blocks=300, minute_s=2)
    assert figures["clock"]["drift_ms"] == figures["clock"]["gaps"] == 0
    for part in (figures["silent"], figures["spoken"]):
        assert part["bytes_missing"] == 0
        assert len(part["heaps"]) == 12
    assert figures["spoken"]["segments"] == figures["spoken"]["lines"] == 12 * 300 * 640 // 96_000
