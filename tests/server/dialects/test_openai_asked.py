"""Names of models, of OpenAI's clients."""

import pytest

from server.dialects.openai_asked import is_cut_by_client, is_served
from tests.server.dialects.openai_session import MODEL


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("tiny.en", True),
        ("whisper-1", True),
        ("gpt-4o-transcribe", True),
        ("gpt-realtime-whisper", True),
        ("gpt-4o-transcribe-diarize", False),
        ("gpt-realtime", False),
        ("", False),
    ],
)
def test_ours_and_those_of_openai_that_transcribe_mean_ours(name, is_ours):
    assert is_served(name, MODEL) is is_ours


def test_two_of_them_leave_turns_to_the_client():
    assert is_cut_by_client("gpt-live-transcribe")
    assert not is_cut_by_client("whisper-1")
