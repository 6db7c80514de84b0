"""The newsletter as a reader's program shows it: in a real Chromium, wide and narrow, light and dark."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from closebell.reports.archive_page import standalone_html
from closebell.reports.issue import NewsletterIssue
from closebell.reports.newsletter import render_newsletter
from infra.local.render_page import ChromiumNotFoundError, chromium_path
from tests.unit.reports.sample_issues import busy_day, empty_day, headline, large_market

Scheme = Literal["light", "dark"]

LOW_CONTRAST = """() => {
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const numbers = text => text.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.getClientRects().length || getComputedStyle(element).opacity === '0') continue;
    const [a, b] = [luminance(numbers(getComputedStyle(element).color)), luminance(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return poor;
}"""


BEYOND_THE_EDGE = """width => [...document.querySelectorAll('td, div, img')]
  .filter(element => element.getBoundingClientRect().right > width + 1).map(element => element.textContent.slice(0, 40))"""


def unbroken() -> NewsletterIssue:
    """A day whose outside texts have no place to break a line."""
    news = (headline("W" * 400, url="https://news.example.com/" + "w" * 400),)
    return replace(busy_day(), news=news, is_halted=True, halt_reason="X" * 300)


@contextmanager
def opened(browser: Browser, html: str, width_px: int = 600, scheme: Scheme = "light") -> Iterator[tuple[Page, list[str]]]:
    """The page, and every request it made beyond its own data."""
    context = browser.new_context(viewport={"width": width_px, "height": 800}, color_scheme=scheme)
    requests: list[str] = []
    try:
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith("data:") else route.abort())
        page.set_content(html, wait_until="load", timeout=30_000)
        yield page, requests
    finally:
        context.close()


@pytest.mark.parametrize("issue", [empty_day(), large_market(), unbroken()], ids=["empty", "large", "unbroken"])
def test_nothing_scrolls_sideways(browser: Browser, issue: NewsletterIssue) -> None:
    with opened(browser, standalone_html(render_newsletter(issue))) as (page, _):
        for width_px in (320, 390, 600, 1200):
            page.set_viewport_size({"width": width_px, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width_px
            assert page.evaluate(BEYOND_THE_EDGE, width_px) == []


def test_the_pictures_are_loaded_and_as_wide_as_the_column(browser: Browser) -> None:
    with opened(browser, standalone_html(render_newsletter(busy_day())), 600) as (page, requests):
        sizes = page.evaluate("[...document.images].map(it => [it.complete, it.naturalWidth, it.width, it.alt.length > 20])")
        assert sizes == [[True, 1120, 552, True]] * 2
        assert requests == []


def test_no_script_of_an_outsider_runs_and_nothing_is_fetched(browser: Browser) -> None:
    attack = (
        "<script>window.owned=1</script><img src=https://evil.example/x onerror='window.owned=1'><svg onload='window.owned=1'>"
    )
    news = (headline(attack, url="javascript:window.owned=1"), headline(attack + "</td></table>" + attack, source=attack))
    issue = replace(busy_day(), news=news, is_halted=True, halt_reason=attack, source_note=attack, code_version=attack)
    mail = render_newsletter(issue)
    for html in (mail.html.replace("cid:", "data:,"), standalone_html(mail)):
        with opened(browser, html) as (page, requests):
            assert page.evaluate("window.owned === undefined")
            assert page.evaluate("document.scripts.length") == 0
            assert requests == []


def test_the_check_above_would_notice_a_script_and_a_request(browser: Browser) -> None:
    with opened(browser, "<script>window.owned=1</script><img src='https://evil.example/x'>") as (page, requests):
        assert page.evaluate("window.owned") == 1
        assert requests == ["https://evil.example/x"]


def test_the_archive_page_runs_nothing_even_if_a_script_got_in(browser: Browser) -> None:
    mail = render_newsletter(empty_day())
    broken = mail.model_copy(update={"html": mail.html.replace("</body>", "<script>window.owned=1</script></body>")})
    with opened(browser, standalone_html(broken)) as (page, _):
        assert page.evaluate("window.owned === undefined")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("environment", ["local", "live"])
def test_every_word_stands_out_from_its_ground(browser: Browser, scheme: Scheme, environment: Literal["local", "live"]) -> None:
    issue = replace(busy_day(), is_halted=True, halt_reason="daily loss", environment=environment)
    with opened(browser, standalone_html(render_newsletter(issue)), 600, scheme) as (page, _):
        assert page.evaluate(LOW_CONTRAST) == []


def test_dark_mode_is_dark(browser: Browser) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        with opened(browser, standalone_html(render_newsletter(empty_day())), 600, scheme) as (page, _):
            grounds[scheme] = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(26, 33, 43)"}


def test_the_hidden_preview_line_is_not_seen(browser: Browser) -> None:
    with opened(browser, standalone_html(render_newsletter(busy_day()))) as (page, _):
        assert page.inner_text("body").count("12 symbols considered") == 1


def test_a_page_on_disk_becomes_a_picture(tmp_path: Path) -> None:
    source, target = tmp_path / "in.html", tmp_path / "out.png"
    source.write_text(standalone_html(render_newsletter(empty_day())), encoding="utf-8")
    command = [sys.executable, "-m", "infra.local.render_page", str(source), str(target), "--width", "390"]
    subprocess.run(command, timeout=120, check=True)
    with Image.open(target) as picture:
        assert picture.width == 780
        assert picture.height > 1_000


def test_without_a_browser_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(ChromiumNotFoundError, match="apt-get install chromium"):
        chromium_path()
