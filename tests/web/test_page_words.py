"""What a word of the captions tells, to the mouse and to the keyboard, and what an hour of them
costs.
"""

from playwright.sync_api import Page, expect

from server import wire
from tests.web.browser import start
from tests.web.scripted_server import final, hear_all, partial
from tests.web.spoken import spoken

FOCUSED = "() => document.activeElement.textContent"


def scripted(server, *events: wire.ServerEvent) -> None:
    async def script(heard):
        await heard.say(*events)
        await hear_all(heard)

    server.script = script


def walk(page: Page, *keys: str) -> str:
    for key in keys:
        page.keyboard.press(key)
    word: str = page.evaluate(FOCUSED)
    return word


def test_a_word_that_is_clicked_tells_its_time_and_confidence(page, server):
    scripted(server, spoken("One two three four."))
    start(page)
    page.get_by_text("three", exact=True).click()
    expect(page.locator("#word-card")).to_contain_text("At 0:00.6")
    expect(page.locator("#word-card")).to_contain_text("40 % sure")
    expect(page.locator("#word-estimated")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#word-card")).to_be_hidden()


def test_times_that_are_estimated_are_called_so(page, server):
    scripted(server, spoken("One two.", word_times="estimated"))
    start(page)
    page.get_by_text("two.", exact=True).click()
    expect(page.locator("#word-card")).to_contain_text("At about 0:00.3")
    expect(page.locator("#word-estimated")).to_be_visible()


def test_doubtful_words_are_underlined(page, server):
    scripted(server, spoken("One two three four."))
    start(page)
    expect(page.locator("#captions .doubtful")).to_have_text(["three"])
    expect(page.locator("#captions .doubtful")).to_have_attribute("title", "Not sure of this word")
    page.locator("#language-switch").click()
    expect(page.locator("#captions .doubtful")).to_have_attribute("title", "不太确定这个词")


def test_what_a_dotted_line_means_is_said_where_help_is(page):
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("under a word: the server is not sure of it.")


def test_spaces_stay_as_they_were_said(page, server):
    scripted(server, spoken("One  two, three."))
    start(page)
    assert page.locator(".settled").text_content() == "One  two, three."


def test_arrow_keys_walk_through_words_and_segments_and_enter_tells(page, server):
    scripted(server, spoken("One two."), spoken("Three four.", 1), partial(1, "", "open", 2))
    start(page)
    expect(page.locator('[data-segment="2"]')).to_be_visible()
    page.locator("#captions").focus()
    assert walk(page, "ArrowRight") == "Three"
    assert walk(page, "ArrowRight") == "four."
    assert walk(page, "ArrowRight") == "four."
    assert walk(page, "ArrowLeft", "ArrowLeft") == "two."
    assert walk(page, "Home") == "One"
    assert walk(page, "ArrowDown", "End") == "four."
    page.keyboard.press("Enter")
    expect(page.locator("#word-card")).to_contain_text("At 0:12.3")
    expect(page.locator("#status")).to_have_text("Listening")


def test_words_are_one_stop_of_the_tab_key(page, server):
    scripted(server, spoken("One two three."))
    start(page)
    page.locator("#captions").focus()
    walk(page, "ArrowRight", "Tab")
    expect(page.locator("#toggle")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#captions")).to_be_focused()
    assert walk(page, "ArrowRight") == "One"


def test_a_final_without_words_is_only_text(page, server):
    scripted(server, final("Only text."))
    start(page)
    page.locator(".settled").click()
    page.locator("#captions").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#captions")).to_be_focused()
    expect(page.locator("#word-card")).to_be_hidden()


def test_of_a_long_session_only_the_newest_words_are_elements(page, server):
    scripted(server, *(spoken("One two three four five.", number) for number in range(400)))
    start(page)
    expect(page.locator('[data-segment="399"]')).to_be_in_viewport()
    assert page.locator('[data-spelt="true"]').count() == 100
    assert page.locator("[data-word]").count() == 100 * 5 + 300  # the doubtful ones
    page.locator('[data-segment="3"]').scroll_into_view_if_needed()
    page.locator('[data-segment="3"]').click(position={"x": 8, "y": 16})
    expect(page.locator("#word-card")).to_contain_text("At 0:36.0")
