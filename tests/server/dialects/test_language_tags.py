"""Languages in, tags with a region out."""

import pytest

from server.dialects.language_tags import language_tags
from server.dialects.values import language_of
from tests.server.dialects.audiohook_client import LANGUAGE

SPOKEN = ["de", "en", "es", "fr", "haw", "it", "ja", "pt", "yue", "zh"]


def test_a_language_is_named_with_its_regions_the_most_spoken_first():
    assert language_tags(["pt"]) == ["pt-PT", "pt-BR"]
    assert language_tags(["en"])[0] == "en-US"


def test_languages_stand_in_order_whatever_order_they_came_in():
    assert language_tags({"fi", "da"}) == language_tags(["da", "fi"]) == ["da-DK", "fi-FI"]


@pytest.mark.parametrize("language", ["la", "xx", "", "EN"])
def test_a_language_without_a_usual_region_is_left_out(language):
    assert language_tags([language]) == []


def test_nothing_in_is_nothing_out():
    assert language_tags([]) == []


@pytest.mark.parametrize("language", SPOKEN)
def test_every_tag_is_of_the_vendor_s_form_and_is_understood_when_it_comes_back(language):
    tags = language_tags([language])
    assert tags
    assert len(set(tags)) == len(tags)
    assert all(LANGUAGE.fullmatch(tag) and language_of(tag) == language for tag in tags)
