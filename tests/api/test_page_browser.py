"""The page in a real Chromium: search, Arabic, filters, funnel, trouble, narrow screens, access.

Every visit ends with what must never be: an error on the console, a violation of the policy, a
request to another host, a line wider than the window.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from page_server import page_server
from serving import Serving

from nestling.server.keys import new_key, write_keys

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
    # Sockets of the browser's driver, which ends with the process.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""
SECONDS = 100  # that anything may take on a busy machine
Visit = Callable[..., Page]

expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with page_server(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def browsers() -> Iterator[Callable[[bool], Browser]]:
    """Returns a function for the browser: with WebGL, which its CPU draws slowly, or without."""
    with sync_playwright() as playwright:

        @cache
        def browser(graphics: bool) -> Browser:
            arguments = [*ARGUMENTS, *([] if graphics else ["--disable-3d-apis"])]
            return playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)

        yield browser


@pytest.fixture
def visit(browsers: Callable[[bool], Browser], server: Serving) -> Iterator[Visit]:
    """Returns a function that opens the page; `trouble=True` where requests are to fail."""
    opened: list[tuple[Page, list[str], bool]] = []

    def visit(
        place: str = "#/search?c=animals",
        *,
        width: int = 1280,
        trouble: bool = False,
        graphics: bool = False,
        url: str = "",
        **options: Any,
    ) -> Page:
        options = {"locale": "en-GB", "viewport": {"width": width, "height": 900}} | options
        context = browsers(graphics).new_context(**options)
        context.set_default_timeout(SECONDS * 1000)
        context.add_init_script(WATCH)
        page = context.new_page()
        problems: list[str] = []
        base = url or server.url
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(base) else problems.append(r.url))
        page.goto(f"{base}/{place}")
        opened.append((page, problems, trouble))
        return page

    yield visit
    for page, problems, trouble in opened:
        violations = page.evaluate("window.violations")
        wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        page.context.close()
        assert violations == []
        assert wide <= window
        # A failed request is an error on the console, whatever the page does.
        left = [text for text in problems if not (trouble and "Failed to load resource" in text)]
        assert left == []


def ask(page: Page, query: str) -> None:
    page.get_by_role("searchbox").fill(query)
    page.get_by_role("searchbox").press("Enter")


def hits(page: Page) -> Locator:
    return page.locator("ol.hits > li")


def ids(server: Serving, query: str, **options: Any) -> list[str]:
    with server.http() as http:
        body = {"query": query, "include": ["metadata"], **options}
        found = http.post("/collections/animals/search", json=body).json()["results"][0]["hits"]
    return [hit["title"] for hit in found]


# Search


@pytest.mark.parametrize("mode", ["Meaning", "Words", "Both"])
def test_hits_are_those_of_the_server(server: Serving, visit: Visit, mode: str) -> None:
    page = visit()
    page.get_by_role("radio", name=mode).check(force=True)
    ask(page, "cat moon")
    expect(page.get_by_text("10 hits")).to_be_visible()
    expect(hits(page)).to_have_count(10)
    name = {"Meaning": "dense", "Words": "lexical", "Both": "hybrid"}[mode]
    expect(page.locator("[data-hit]")).to_have_text(ids(server, "cat moon", mode=name))
    if mode == "Both":
        expect(page.get_by_text(re.compile("by words .*#1")).first).to_be_visible()


def test_highlights_are_counted_in_characters(visit: Visit) -> None:
    """The server counts code points; "😀" is two units of JavaScript."""
    page = visit("#/search?c=animals&q=read&mode=lexical&k=100")
    hit = hits(page).filter(has_text="😀 The cat")
    expect(hit.locator("mark")).to_have_text(["read"])
    expect(hit.locator("p.passage")).to_have_text("😀 The cat 😀 is read.")


def test_a_passage_is_shown_in_its_document(visit: Visit) -> None:
    page = visit("#/search?c=book&q=zephyr&mode=lexical")
    page.get_by_role("button", name="Long", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Long")
    expect(dialog.locator("mark.passage")).to_contain_text("A zephyr and a dog.")
    expect(dialog.locator("mark.passage")).to_be_in_viewport()
    expect(dialog.locator(".prose")).to_contain_text("Write it down.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Long", exact=True)).to_be_focused()


def test_the_address_holds_the_search(visit: Visit) -> None:
    page = visit()
    page.get_by_role("radio", name="Words").check(force=True)
    ask(page, "sun")
    expect(hits(page)).to_have_count(10)
    expect(page).to_have_url(re.compile("q=sun"))
    expect(page).to_have_url(re.compile("mode=lexical"))
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("sun")
    expect(hits(page)).to_have_count(10)
    page.get_by_role("link", name="Health").click()
    page.go_back()
    expect(hits(page)).to_have_count(10)


def test_it_searches_while_one_types(visit: Visit) -> None:
    page = visit()
    page.get_by_role("searchbox").press_sequentially("cat ", delay=20)
    expect(hits(page)).to_have_count(10)
    expect(page.get_by_role("searchbox")).to_have_value("cat ")


def test_filters_of_fields(server: Serving, visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat&k=100")
    expect(hits(page)).to_have_count(100)
    add = page.get_by_label("Add a filter")
    add.select_option("lang")
    page.get_by_label("Value of lang").select_option("fr")
    add.select_option("year")
    page.get_by_label("Value of year: from").fill("2010")
    page.get_by_label("Value of year: to").fill("2012")
    page.get_by_label("Value of year: to").press("Tab")
    where = {"lang": "fr", "year": {"$gte": 2010, "$lte": 2012}}
    wanted = ids(server, "cat", k=100, where=where)
    assert 0 < len(wanted) < 20
    expect(page.locator("[data-hit]")).to_have_text(wanted)
    page.get_by_role("button", name="Remove the filter of year").click()
    expect(page.locator("[data-hit]")).to_have_text(ids(server, "cat", k=100, where={"lang": "fr"}))
    page.get_by_role("button", name="Remove the filter of lang").click()
    add.select_option("tags")
    page.get_by_label("Value of tags").select_option("dog")
    tagged = ids(server, "cat", k=100, where={"tags": {"$contains": "dog"}})
    expect(page.locator("[data-hit]")).to_have_text(tagged)
    page.reload()
    expect(page.locator("[data-hit]")).to_have_text(tagged)
    expect(page.get_by_label("Value of tags")).to_have_value(re.compile(r"\d+"))


# Arabic


def test_arabic_text_in_an_english_page(visit: Visit) -> None:
    page = visit("#/search?c=" + quote("مكتبة"))
    ask(page, "مرحبا")
    expect(page.locator("[data-hit]").first).to_have_text(re.compile("تحية|حيوان"))
    box = page.get_by_role("searchbox")
    assert box.evaluate("node => getComputedStyle(node).direction") == "rtl"
    passage = page.locator("p.passage").filter(has_text="بك")
    assert passage.evaluate("node => getComputedStyle(node).direction") == "ltr"  # "dog" is first
    expect(page.locator("html")).to_have_attribute("dir", "ltr")


def test_the_interface_in_arabic_is_mirrored_and_remembered(visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat")
    expect(hits(page)).to_have_count(10)
    left = page.locator("a.brand").bounding_box()
    page.get_by_role("button", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.get_by_text("10 نتائج")).to_be_visible()
    right = page.locator("a.brand").bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] < 640 < right["x"]
    page.reload()
    expect(page.get_by_role("link", name="المجموعات")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("link", name="Collections")).to_be_visible()


def test_the_language_of_the_browser_is_the_first_one(visit: Visit) -> None:
    page = visit(locale="ar-EG")
    expect(page.get_by_role("link", name="المستندات")).to_be_visible()


# The funnel


def test_the_funnel_shows_what_the_server_measured(server: Serving, visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat+dog")
    rows = page.locator("table.stages tbody tr")
    expect(rows).to_have_count(3)
    with server.http() as http:
        report = http.post("/collections/animals/funnel", json={"query": "cat dog"}).json()
    for row, stage in zip(rows.all(), report["stages"], strict=True):
        expect(row.get_by_role("rowheader")).to_have_text(f"{stage['dims']}@{stage['bits']}")
        cells = row.get_by_role("cell")
        expect(cells.nth(0)).to_have_text(f"{stage['rows_seen']:,}")
        expect(cells.nth(1)).to_have_text(f"{stage['rows_kept']:,}")
    expect(page.locator(".figures")).to_contain_text(f"{report['recall']:.2f}")
    # The bars narrow as the rows do.
    widths = [float(bar.get_attribute("width") or 0) for bar in page.locator("rect.read").all()]
    assert widths == sorted(widths, reverse=True)
    expect(page.locator(".legend")).to_contain_text("Hits 10")


def test_a_slider_tries_other_keeps(visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat+dog&k=20")
    slider = page.get_by_role("slider", name=re.compile("first stage keeps"))
    expect(page.locator("circle.trial")).to_have_count(1)
    slider.focus()
    for _ in range(6):
        slider.press("ArrowLeft")
    expect(page.locator("circle.trial")).not_to_have_count(1)
    expect(page.locator("output")).to_have_text("20")
    expect(page.locator(".dropped li").first).to_contain_text("Stage 1 dropped")
    low = float(page.locator(".figures strong").first.inner_text())
    assert low < 1
    page.get_by_role("button", name="Draw the curve").click()
    expect(page.get_by_role("button", name="Draw the curve")).to_be_enabled()
    expect(page.locator("circle.trial").nth(4)).to_be_attached()
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("output")).to_have_text("40")


def test_what_was_dropped_can_be_opened(visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat+dog&k=20")
    slider = page.get_by_role("slider", name=re.compile("first stage keeps"))
    slider.fill("-6")
    lost = page.locator(".dropped button").first
    title = lost.inner_text()
    lost.click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text(title)


@pytest.mark.parametrize("graphics", [False, True])
def test_the_map_draws_and_opens_points(visit: Visit, graphics: bool) -> None:
    page = visit("#/search?c=animals&q=cat+dog", graphics=graphics)
    card = page.locator(".map")
    expect(card.locator("canvas")).to_have_count(1 if graphics else 0)
    expect(card).to_have_attribute("aria-label", re.compile(r"\d+ points"))
    expect(page.locator("table.stages")).to_be_visible()
    page.wait_for_load_state("networkidle")  # nothing moves any more
    card.scroll_into_view_if_needed()
    ring = page.locator(".map .ring, .map circle.marked").first
    box = ring.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.get_by_role("dialog").get_by_role("heading")).to_be_visible()


def test_a_search_by_words_says_that_it_has_no_funnel(visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat&mode=lexical")
    expect(page.get_by_text("A search by words has no funnel")).to_be_visible()


# The other views


def test_documents_come_page_by_page(visit: Visit) -> None:
    page = visit("#/documents?c=animals")
    expect(page.locator("ul.documents > li")).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("ul.documents > li")).to_have_count(40)
    titles = page.locator("ul.documents h2").all_inner_texts()
    assert len(set(titles)) == 40
    page.get_by_label("Add a filter").select_option("author.name")
    page.get_by_label("Value of author.name").select_option("A3")
    expect(page.locator("ul.documents > li").first).to_contain_text("Title 3")
    page.get_by_role("button", name="Title 3", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("A3")


def test_collections_and_health(visit: Visit) -> None:
    page = visit("#/collections")
    expect(page.get_by_text("5 collections")).to_be_visible()
    page.get_by_role("button", name="Search in animals").click()
    expect(page.get_by_label("Collection")).to_have_value("animals")
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("Ready", exact=True)).to_be_visible()
    expect(page.get_by_role("rowheader", name="animals")).to_be_visible()


def test_health_lists_query_encoders(visit: Visit) -> None:
    listed = [{"name": "quick", "imitates": "tiny-teacher", "dim": 8}]

    def answer(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "query_encoders": listed})

    page = visit("#/collections")
    page.route("**/status", answer)
    page.get_by_role("link", name="Health").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="quick"))
    expect(row).to_contain_text("tiny-teacher")


def test_an_empty_collection_says_what_to_do(visit: Visit) -> None:
    page = visit("#/search?c=empty")
    expect(page.get_by_role("heading", name="This collection is empty")).to_be_visible()
    expect(page.get_by_text("nestling add empty documents.jsonl")).to_be_visible()


def test_nothing_found(visit: Visit) -> None:
    page = visit("#/search?c=animals&q=zebra&mode=lexical")
    expect(page.get_by_role("heading", name="Nothing was found")).to_be_visible()
    expect(page.get_by_text("0 hits")).to_be_visible()


# Trouble


def failing(status: int, message: str, **headers: str) -> Callable[[Route], None]:
    body = {"error": {"message": message, "type": "x", "param": None, "code": None}}
    return lambda route: route.fulfill(status=status, json=body, headers=headers)


def test_an_error_shows_the_server_s_words_and_can_be_tried_again(visit: Visit) -> None:
    page = visit(trouble=True)
    page.route("**/search", failing(422, "where: unknown operator '$near'"))
    ask(page, "cat")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The request was refused")
    expect(alert).to_contain_text("unknown operator '$near'")
    page.unroute("**/search")
    alert.get_by_role("button", name="Try again").click()
    expect(hits(page)).to_have_count(10)
    expect(alert).to_have_count(0)


def test_a_busy_server_is_tried_again(visit: Visit) -> None:
    page = visit(trouble=True)
    calls = []

    def once(route: Route) -> None:
        calls.append(route)
        if len(calls) == 1:
            failing(429, "full", **{"retry-after": "1"})(route)
        else:
            route.continue_()

    page.route("**/search", once)
    ask(page, "cat")
    expect(page.get_by_role("alert")).to_contain_text("The server is busy")
    expect(hits(page)).to_have_count(10)
    assert len(calls) == 2


def test_a_slow_answer_is_announced(visit: Visit) -> None:
    page = visit()

    held: list[Route] = []
    page.route("**/search", lambda route: held.append(route), times=1)
    ask(page, "cat")
    expect(page.get_by_text("Still working")).to_be_visible()
    held[0].continue_()
    expect(hits(page)).to_have_count(10)
    expect(page.get_by_text("Still working")).to_have_count(0)


def test_offline(visit: Visit) -> None:
    page = visit("#/search?c=animals&q=cat", trouble=True)
    expect(hits(page)).to_have_count(10)
    expect(page.locator("table.stages")).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator(".banner")).to_contain_text("The server cannot be reached")
    ask(page, "dog")
    problem = page.get_by_role("region", name="Hits").get_by_role("alert")
    expect(problem).to_contain_text("The server cannot be reached")
    page.context.set_offline(False)
    expect(page.locator(".banner")).to_have_count(0)
    problem.get_by_role("button", name="Try again").click()
    expect(page.locator(".problem")).to_have_count(0)
    expect(hits(page)).to_have_count(10)


def test_a_key_is_requested_and_kept_in_the_tab_only(visit: Visit, tmp_path: Path) -> None:
    key, record = new_key("page", "read")
    write_keys(tmp_path / "keys.json", {"page": record})
    with page_server(tmp_path, api_keys=str(tmp_path / "keys.json")) as guarded:
        page = visit("#/search?c=animals&q=cat", url=guarded.url, trouble=True)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading")).to_have_text("An API key is required")
        first = dialog.element_handle()
        dialog.get_by_label("API key").fill("nest-wrong")
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog.get_by_role("alert")).to_contain_text("not known")
        # A busy browser tells that the first dialog closed only when the next is open.
        first.dispatch_event("close")
        expect(dialog.get_by_role("alert")).to_contain_text("not known")
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button", name="Use this key").click()
        expect(hits(page)).to_have_count(10)
        page.reload()
        expect(hits(page)).to_have_count(10)
        assert key not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert key in page.evaluate("JSON.stringify(sessionStorage)")


# Keyboard, narrow screens, access


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("searchbox")).to_be_visible()
    page.locator("body").press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("cat")
    page.keyboard.press("Enter")
    expect(hits(page)).to_have_count(10)
    buttons = page.locator("[data-hit]")
    for place in range(3):
        page.keyboard.press("ArrowDown")
        expect(buttons.nth(place)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(buttons.nth(1)).to_be_focused()
    style = buttons.nth(1).evaluate("node => getComputedStyle(node).outlineStyle")
    assert style == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_be_focused()


@pytest.mark.parametrize("locale", ["en", "ar"])
@pytest.mark.parametrize("view", ["search", "documents", "collections", "health"])
def test_360_pixels_are_enough(visit: Visit, view: str, locale: str) -> None:
    page = visit(f"#/{view}?c=animals&q=cat+dog", width=360, locale=locale)
    expect(page.locator("main")).not_to_be_empty()
    if view == "search":
        expect(page.locator("table.stages")).to_be_visible()
        expect(page.locator(".map")).to_be_visible()
    page.wait_for_load_state("networkidle")
    for control in page.locator("header.top a, header.top button").all():
        box = control.bounding_box()
        if box is not None and box["y"] >= 0:  # but the link that skips, which is off the page
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en", "ar"])
@pytest.mark.parametrize("view", ["search", "documents", "collections", "health", "dialog", "key"])
def test_axe_finds_nothing(visit: Visit, view: str, locale: str, colours: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    name = "search" if view in ("dialog", "key") else view
    place = f"#/{name}?c=animals&q=cat+dog&k=20&mode=hybrid&where=" + quote('{"lang":"fr"}')
    page = visit(place, color_scheme=colours, locale=locale, reduced_motion="reduce", trouble=True)
    if name == "search":
        expect(page.locator("table.stages")).to_be_visible()
        page.get_by_role("slider").first.fill("-6")
        expect(page.locator(".dropped li").first).to_be_visible()
    else:
        expect(page.locator("main :is(h1, h2)").first).to_be_visible()
    if view == "dialog":
        page.locator("[data-hit]").first.click()
        expect(page.locator("dialog .prose")).to_be_visible()
    if view == "key":
        page.route("**/search", failing(401, "an API key is needed"))
        ask(page, "sun")
        expect(page.locator("dialog.key")).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    result = axe.run(page)
    assert result.violations_count == 0, result.generate_report()
