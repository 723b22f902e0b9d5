"""The pages in a real browser: headless Chromium, driven by its WebDriver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrigan.config.model_card import Calibration, Limits
from mrigan.detect import Judge, Options
from mrigan.detect.inputs import Input, expand
from mrigan.detect.options import Case, Outputs
from mrigan.detect.page import render
from mrigan.detect.rule import Rule
from mrigan.detect.sinks.pages import MAX_FILES_INLINE, Pages
from tests.detect.test_page import HOSTILE

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.keys import Keys  # noqa: E402

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    not (DRIVER and BROWSER), reason="no Chromium on this machine: apt-get install chromium chromium-driver"
)
LONG = "x" * 150
CASE = Case("K 7/2026", "A. Bee, " + LONG, "2026-11-30, by mail", f"mrigan detect {LONG}.mp4 --case 'K 7/2026'")
LOOKS = """
const linear = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const luminance = (c) => { const [r, g, b] = c.map(linear);
  return .2126 * r + .7152 * g + .0722 * b; };
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
return Array.from(document.querySelectorAll("body *"))
  .filter((e) => !["SCRIPT", "STYLE"].includes(e.tagName) && e.checkVisibility() &&
          Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.trim()) && e.tagName !== "title")
  .map((e) => { const style = getComputedStyle(e);
    const colour = parse(e.tagName === "text" ? style.fill : style.color).slice(0, 3);
    const [a, b] = [luminance(colour), luminance(ground(e))];
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName, e.textContent.trim().slice(0, 40)]; });
"""
WIDE = """
return Array.from(document.querySelectorAll("body *"))
  .filter((e) => e.checkVisibility() && !e.closest(".skip, #sorted") && e.getBoundingClientRect().right > innerWidth + 1
          && !(e.closest("svg") && e.tagName !== "svg"))
  .map((e) => e.outerHTML.slice(0, 80));
"""
FOCUSABLE = "a[href], button, summary, input, select, textarea, [tabindex='0']"


@pytest.fixture(scope="module")
def pages(clips: Path, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """one: a video of two people; several; apart: the list of many; ruled: by another rule; undecided."""
    folder, out = tmp_path_factory.mktemp("inputs"), tmp_path_factory.mktemp("pages")
    shutil.copy(clips / "two.mp4", folder / f"{HOSTILE}.mp4")
    shutil.copy(clips / "face.png", folder / f"{LONG}.png")
    shutil.copy(clips / "noface.mp4", folder / "noface.mp4")
    shutil.copy(clips / "short.mp4", folder / "Äpfel 10.mp4")
    (folder / "broken.mp4").write_bytes(b"")
    judge = Judge(models["fake"], Options())
    limits, calibration = Limits(share=0.5, min_side=30.0, min_sharpness=1.0), Calibration("platt", 0, None, 0.3, -1.0)
    judge.criteria = replace(judge.criteria, limits=limits, calibration=calibration)
    judged = list(judge.each(expand([folder])[0], examples=3))
    two = next(one for one in judged if "alert" in one.verdict.path)
    (out / "one.html").write_text(render([two], ["left.txt: no video"], case=CASE))
    (out / "several.html").write_text(render(judged))
    ruled = Judge(models["fake"], Options())
    ruled.criteria = replace(ruled.criteria, rule=Rule("confident_mean", 0.97))
    (out / "ruled.html").write_text(render(list(ruled.each(expand([two.verdict.path])[0], examples=3))))
    judge.criteria = replace(judge.criteria, limits=replace(limits, min_side=900.0))
    (out / "undecided.html").write_text(render(list(judge.each(expand([two.verdict.path])[0], examples=3))))
    inputs = [Input(f"clip {i}.mp4", False) for i in range(MAX_FILES_INLINE + 1)]
    apart = Pages(inputs, out / "a #1%20?<b>.html", Outputs())
    apart.open()
    for i, item in enumerate(inputs):
        verdict = replace(two.verdict, path=item.path, probability=(7 * i % 51) / 51)
        apart.add(i + 1, item, replace(two, verdict=verdict))
    apart.finish({}, [])
    return {file.stem: file for file in out.glob("*.html")} | {"apart": apart.out}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def opened(driver: Any, page: Path, *, width: int = 1000, scheme: str = "light", media: str = "screen") -> Any:
    view = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    driver.get(page.as_uri())
    return driver


def press(driver: Any, *keys: str) -> Any:
    """Press keys where the focus is; returns where it is then."""
    webdriver.ActionChains(driver).send_keys(*keys).perform()
    return driver.switch_to.active_element


@pytest.mark.parametrize("name", ["one", "several", "undecided", "apart"])
def test_nothing_is_blocked_or_fails(chromium: Any, pages: dict[str, Path], name: str) -> None:
    opened(chromium, pages[name])
    assert chromium.get_log("browser") == []
    images = chromium.execute_script("return Array.from(document.images, (i) => i.complete && i.naturalWidth > 0)")
    assert all(images)
    assert bool(images) == (name != "apart")
    # The style is applied, and so is the script where there is one.
    assert chromium.execute_script("return getComputedStyle(document.body).maxWidth") == "960px"
    assert len(chromium.find_elements("css selector", "table.sortable")) == (name in ("several", "apart"))


def test_hostile_names_stay_text(chromium: Any, pages: dict[str, Path]) -> None:
    opened(chromium, pages["one"])
    shown = HOSTILE.replace("\n", "\\n")
    assert chromium.find_element("tag name", "h1").text.endswith(f"{shown}.mp4")
    assert chromium.title.endswith(f"{shown}.mp4")
    assert chromium.find_elements("css selector", "script, img[src^='http']") == []
    # What would run, if some markup got in, is stopped by the page's policy.
    chromium.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://localhost:9/x.png'; document.body.append(i);"
    )
    assert chromium.execute_script("return window.ran") is None
    assert all("Content Security Policy" in entry["message"] for entry in chromium.get_log("browser"))


@pytest.mark.parametrize("width", [320, 360, 1000])
@pytest.mark.parametrize("name", ["one", "several", "ruled", "undecided", "apart"])
def test_no_page_scrolls_sideways(chromium: Any, pages: dict[str, Path], name: str, width: int) -> None:
    opened(chromium, pages[name], width=width)
    assert chromium.execute_script("return innerWidth") == width
    assert chromium.execute_script(WIDE) == []
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["several", "ruled", "undecided"])
def test_text_can_be_read_in_light_and_dark(chromium: Any, pages: dict[str, Path], name: str) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        opened(chromium, pages[name], scheme=scheme)
        looks = chromium.execute_script(LOOKS)
        assert len(looks) > 100
        assert [look for look in looks if look[0] < 4.5] == []
        grounds[scheme] = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("name", ["one", "several"])
def test_tab_reaches_all_that_does_something(chromium: Any, pages: dict[str, Path], name: str) -> None:
    opened(chromium, pages[name])
    expected = chromium.find_elements("css selector", FOCUSABLE)
    assert expected
    reached = [press(chromium, Keys.TAB) for _ in expected]
    assert reached == expected  # in the order in which they are read
    assert chromium.execute_script("return getComputedStyle(arguments[0]).outlineStyle", reached[-1]) == "solid"


def test_the_skip_link_shows_and_skips(chromium: Any, pages: dict[str, Path]) -> None:
    opened(chromium, pages["several"])
    link = press(chromium, Keys.TAB)
    assert link.text == "Skip to the list"
    assert link.rect["x"] >= 0
    assert press(chromium, Keys.ENTER).get_attribute("id") == "main"
    assert press(chromium, Keys.TAB).tag_name == "button"  # past nothing but the head


def test_numbers_open_by_keyboard(chromium: Any, pages: dict[str, Path]) -> None:
    opened(chromium, pages["one"])
    assert not chromium.find_element("css selector", ".numbers li").is_displayed()
    while (at := press(chromium, Keys.TAB)).tag_name != "summary":
        assert at.tag_name != "body"
    press(chromium, Keys.ENTER)
    assert chromium.find_element("css selector", ".numbers li").is_displayed()


def rows(driver: Any, column: int) -> list[str]:
    script = "return Array.from(document.querySelectorAll('.index tbody tr'), (r) => r.cells[arguments[0]].innerText)"
    return [text.split("\n")[0] for text in driver.execute_script(script, column)]


def sorts(driver: Any) -> list[str | None]:
    return [head.get_attribute("aria-sort") for head in driver.find_elements("css selector", ".index thead th")]


@pytest.mark.parametrize("width", [360, 1000])
def test_the_list_is_sorted_by_keyboard(chromium: Any, pages: dict[str, Path], width: int) -> None:
    opened(chromium, pages["apart"], width=width)
    order = list(range(MAX_FILES_INLINE + 1))
    assert rows(chromium, 0) == [f"clip {i}.mp4" for i in order]
    assert sorts(chromium) == [None] * 5
    by_probability = sorted(order, key=lambda i: -(7 * i % 51))
    for _ in range(6):
        at = press(chromium, Keys.TAB)
    assert at.text.startswith("Probability")
    assert press(chromium, Keys.ENTER) == at  # the focus stays
    assert rows(chromium, 0) == [f"clip {i}.mp4" for i in by_probability]
    assert sorts(chromium) == [*[None] * 4, "descending"]
    press(chromium, Keys.SPACE)
    assert rows(chromium, 0) == [f"clip {i}.mp4" for i in reversed(by_probability)]
    assert sorts(chromium) == [*[None] * 4, "ascending"]
    assert chromium.execute_script("return document.querySelector('#sorted').textContent") == (
        "Sorted by Probability, ascending."
    )
    for _ in range(4):
        webdriver.ActionChains(chromium).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert chromium.switch_to.active_element.text == "File"
    press(chromium, Keys.ENTER)
    assert rows(chromium, 0) == [f"clip {i}.mp4" for i in order]  # 2 before 10
    assert sorts(chromium) == ["ascending", *[None] * 4]


def test_what_has_no_probability_is_last_either_way(chromium: Any, pages: dict[str, Path]) -> None:
    opened(chromium, pages["several"])
    button = chromium.find_elements("css selector", ".index thead button")[4]
    for first in ("descending", "ascending"):
        button.click()
        assert sorts(chromium)[4] == first
        texts = rows(chromium, 4)
        numbers = [float(text.strip("<>")) for text in texts if text != "–"]
        assert texts[-2:] == ["–", "–"]
        assert numbers == sorted(numbers, reverse=first == "descending")
    chromium.find_elements("css selector", ".index thead button")[1].click()
    assert rows(chromium, 1)[:2] == ["fake", "fake"]


def test_links_of_the_list_lead_to_the_pages_and_back(chromium: Any, pages: dict[str, Path]) -> None:
    opened(chromium, pages["apart"])
    chromium.find_element("link text", "clip 7.mp4").click()
    assert chromium.find_element("tag name", "h1").text == "clip 7.mp4"
    assert chromium.get_log("browser") == []
    chromium.find_element("link text", "All files").click()
    assert chromium.find_element("tag name", "h1").text == f"Verdicts on {MAX_FILES_INLINE + 1} files"


def test_without_script_the_list_is_there_and_has_no_dead_buttons(chromium: Any, pages: dict[str, Path]) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(chromium, pages["several"])
        assert chromium.find_elements("css selector", "button") == []
        assert chromium.find_element("partial link text", "noface.mp4").is_displayed()
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_paper_shows_all_and_is_white(chromium: Any, pages: dict[str, Path]) -> None:
    opened(chromium, pages["several"], scheme="dark", media="print")
    ground, hidden = chromium.execute_script(
        "return [getComputedStyle(document.body).backgroundColor, Array.from(document.querySelectorAll("
        "'main p:not(#sorted), main li, main dd, main td, main img, main svg, main h2, main h3'))"
        ".filter((e) => !e.checkVisibility({contentVisibilityAuto: true}) || !e.getClientRects().length)"
        ".map((e) => e.outerHTML.slice(0, 60))]"
    )
    assert ground == "rgb(255, 255, 255)"
    assert hidden == []
    assert [look for look in chromium.execute_script(LOOKS) if look[0] < 4.5] == []
    opened(chromium, pages["several"])  # on the screen the numbers are folded away
    assert not chromium.find_element("css selector", ".numbers li").is_displayed()
