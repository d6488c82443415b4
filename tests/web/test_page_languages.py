"""The microphone page in English and in Chinese."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from server import errors
from tests.web.browser import opened
from tests.web.scripted_server import TOKEN

WEB_FOLDER = Path(__file__).parents[2] / "web"
HERE = f"#token={TOKEN}"
KINDS = """async (file) => {
  const kinds = (value) =>
    typeof value === "object"
      ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, kinds(each)]))
      : `${typeof value}/${value.length && typeof value === "function" ? value.length : 0}`;
  return kinds((await import(file)).texts);
}"""
SAID = """async (file) => {
  const said = (value) => {
    if (typeof value === "function") return [value("NAME")];
    return typeof value === "object" ? Object.values(value).flatMap(said) : [value];
  };
  return said((await import(file)).texts);
}"""


def test_both_languages_have_the_same_keys_and_kinds(page):
    assert page.evaluate(KINDS, "./texts_en.js") == page.evaluate(KINDS, "./texts_zh.js")


@pytest.mark.parametrize("file", ["./texts_en.js", "./texts_zh.js"])
def test_every_refusal_has_words_in_both_languages(page, file):
    problems = page.evaluate("async (file) => (await import(file)).texts.problems", file)
    codes = {refusal.code for refusal in errors.ALL}
    assert codes - set(problems) == set()
    assert all(problems.values())


def test_chinese_is_written_with_chinese_punctuation(page):
    said = page.evaluate(SAID, "./texts_zh.js")
    half = [
        text for text in said if re.search(r"[\u4e00-\u9fff][,;:!?.]|[,;:!?][\u4e00-\u9fff]", text)
    ]
    assert half == []
    traditional = re.compile("[們這個麼說話時間關閉設麥風請連線]")
    assert [text for text in said if traditional.search(text)] == []


@pytest.mark.parametrize(
    ("query", "locale", "language"),
    [
        ("", "en-GB", "en"),
        ("", "zh-CN", "zh-Hans"),
        ("", "fr-FR", "en"),
        ("?lang=zh", "en-GB", "zh-Hans"),
        ("?lang=en", "zh-CN", "en"),
        ("?lang=tlh", "zh-CN", "zh-Hans"),
    ],
)
def test_the_language_is_the_address_s_then_the_browser_s(browser, server, query, locale, language):
    with opened(browser, server, query + HERE, locale=locale) as page:
        expect(page.locator("html")).to_have_attribute("lang", language)


def test_the_language_can_be_switched_and_is_remembered(page):
    switch = page.locator("#language-switch")
    expect(switch).to_have_accessible_name("中文")
    switch.click()
    expect(switch).to_have_accessible_name("English")
    expect(page.locator("#toggle-label")).to_have_text("开始聆听")
    expect(page).to_have_title("Earwitness 实时字幕")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    switch.click()
    expect(page.locator("#status")).to_have_text("Ready")


def test_a_switch_in_a_session_keeps_it_and_says_it_anew(page, server):
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Listening")
    page.locator("#language-switch").click()
    expect(page.locator("#status")).to_have_text("正在聆听")
    expect(page.locator("#connection")).to_have_text("已连接")
    assert len(server.sessions) == 1


def test_a_problem_is_said_in_the_language_of_the_page(browser, server):
    server.denial = errors.OVERLOADED
    with opened(browser, server, "?lang=zh" + HERE) as page:
        page.locator("#toggle").click()
        expect(page.locator("#problem")).to_have_text(
            "服务器已满。请稍候片刻，然后重新开始。"  # noqa: RUF001
        )
        page.locator("#language-switch").click()
        expect(page.locator("#problem")).to_contain_text("The server is full.")


def test_no_word_of_the_page_stands_in_the_html_alone(page):
    empty = page.evaluate(
        """() => [...document.querySelectorAll("button, label, h2, p, dd")]
          .filter((each) => each.textContent.trim() === "" && !each.getAttribute("aria-label"))
          .filter((each) => !each.hidden) // those have their words when they are shown
          .map((each) => each.outerHTML)"""
    )
    assert empty == []


def test_the_languages_of_the_microphone_page_are_those_of_its_files():
    assert {path.name for path in WEB_FOLDER.glob("texts_*.js")} == {"texts_en.js", "texts_zh.js"}
