"""The README in Chinese is that in English: the same commands, settings, codes, messages, links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = ("README.md", "README.zh.md")
ENGLISH, CHINESE = ((ROOT / name).read_text() for name in FILES)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+# .*")
CODE_ROW = re.compile(r"^\| `(\w+)` \| (\d{4}) \| (\d{3})", re.MULTILINE)
FIRST_CELL = re.compile(r"^\| ([^|]*`[^|]*) \|", re.MULTILINE)
LINK = re.compile(r"\]\(((?:docs|server|LICENSE)[^)]*)\)")


def blocks(text: str) -> list[tuple[str, str]]:
    """Each block of code without its comments, which are translated."""
    return [(kind, COMMENT.sub("", code)) for kind, code in BLOCK.findall(text)]


def spans(text: str) -> list[list[str]]:
    """What stands in code in the first cell of each row."""
    return [re.findall(r"`[^`]+`", cell) for cell in FIRST_CELL.findall(text)]


def test_both_have_the_same_code():
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_both_have_the_same_codes_with_the_same_numbers():
    assert CODE_ROW.findall(CHINESE) == CODE_ROW.findall(ENGLISH)
    assert len(CODE_ROW.findall(ENGLISH)) > 20


def test_both_have_the_same_rows():
    assert spans(CHINESE) == spans(ENGLISH)


def test_both_have_the_same_figures():
    figures = [
        re.findall(r"\d[\d.]* (?:s|ms|%|MB|GB|MiB|KiB)\b", text.replace("；", "; "))  # noqa: RUF001
        for text in (ENGLISH, CHINESE)
    ]
    assert set(figures[0]) ^ set(figures[1]) <= {"30 s", "10 s"}  # written out in Chinese


def test_both_have_as_many_chapters_and_the_same_links():
    titles = [re.findall(r"^#+ ", text, re.MULTILINE) for text in (ENGLISH, CHINESE)]
    assert titles[0] == titles[1]
    assert sorted(LINK.findall(CHINESE)) == sorted(LINK.findall(ENGLISH))


@pytest.mark.parametrize(("text", "other"), [(ENGLISH, FILES[1]), (CHINESE, FILES[0])])
def test_each_leads_to_the_other(text, other):
    assert f"]({other})" in text.split("##")[0]
