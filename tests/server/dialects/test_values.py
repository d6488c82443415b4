"""Tags of languages and names of calls, as wires say them."""

import pytest

from server.dialects.values import language_of


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en", "en"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("haw-US", "haw"),
        ("nb-NO", "no"),
        ("nn-NO", "nn"),
        ("cmn-Hans-CN", "zh"),
        ("yue-Hant-HK", "yue"),
        ("iw-IL", "he"),
        ("in-ID", "id"),
        ("jv-ID", "jw"),
        (None, None),
        ("", None),
        ("e", None),
        ("English", None),
        ("caf\u00e9", None),
    ],
)
def test_a_language_is_named_as_models_name_it(tag, language):
    assert language_of(tag) == language
