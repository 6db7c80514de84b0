"""A backtest's report in a real Chromium: wide and narrow, light and dark."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from closebell.backtest.results.comparison import ComparedBacktest
from closebell.backtest.results.comparison_charts import comparison_pictures
from closebell.backtest.results.comparison_page import comparison_html
from closebell.backtest.results.report_page import report_html
from closebell.backtest.summary import summary_of
from tests.browser.test_newsletter_page import LOW_CONTRAST
from tests.unit.backtest.sample_records import equity_of, records_of, trade_of, year_and_a_half

Scheme = Literal["light", "dark"]

CUT_OFF = """width => [...document.querySelectorAll('section, .card, .card b, section > table, svg.wide, svg.narrow, p, li')]
  .filter(it => it.getBoundingClientRect().right > width + 1 || it.scrollWidth > it.clientWidth + 1 && it.matches('.card b'))
  .map(it => it.tagName + ' ' + it.textContent.trim().slice(0, 40))"""
BROKEN_NUMBERS = """() => [...document.querySelectorAll('.card b, svg.wide text, svg.narrow text')].filter(it => {
  const shown = it.getBoundingClientRect(), around = (it.ownerSVGElement || it.parentElement).getBoundingClientRect();
  const isOutside = shown.left < around.left || shown.right > around.right;
  return shown.width && (isOutside || shown.height > 2 * parseFloat(getComputedStyle(it).fontSize));
}).map(it => it.textContent)"""


def report() -> str:
    records = year_and_a_half()
    return report_html(records, summary_of(records))


def comparison() -> str:
    backtests = [ComparedBacktest(name, year_and_a_half(), summary_of(year_and_a_half())) for name in ("rsi", "ensemble")]
    return comparison_html(backtests, comparison_pictures(backtests))


def rich() -> str:
    """An account of ten billion dollars."""
    records = records_of([trade_of("-17999.98"), trade_of("6900000")], equity_of(date(2020, 1, 2), [10_100_000_000] * 60))
    large = replace(records, cash_usd=Decimal(10_000_000_000))
    return report_html(large, summary_of(large))


def unbroken() -> str:
    """Outside texts without a place to break a line."""
    records = year_and_a_half()
    trade = trade_of("5", symbol="S" * 60, reason="R" * 900, strategies=("V" * 120,))
    long = replace(records_of([trade], records.equity, label="L" * 300, warnings=("W" * 500,)), strategies=("V" * 200,))
    return report_html(long, summary_of(long))


@contextmanager
def opened(browser: Browser, html: str, width_px: int = 1200, scheme: Scheme = "light") -> Iterator[tuple[Page, list[str]]]:
    """The page, and everything it complained about: console messages, errors, requests beyond its own data."""
    context = browser.new_context(viewport={"width": width_px, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    try:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith("data:") else None)
        page.set_content(html, wait_until="load", timeout=30_000)
        yield page, complaints
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [390, 1200])
@pytest.mark.parametrize("page_of", [report, comparison, rich, unbroken])
def test_the_page_fits_its_window_is_legible_and_complains_of_nothing(
    browser: Browser, page_of: Callable[[], str], width_px: int, scheme: Scheme
) -> None:
    with opened(browser, page_of(), width_px, scheme) as (page, complaints):
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px
        assert page.evaluate(CUT_OFF, width_px) == []
        assert page.evaluate(BROKEN_NUMBERS) == []
        assert page.evaluate(LOW_CONTRAST) == []
        assert complaints == []


def test_a_narrow_window_has_the_narrow_curve_and_a_wide_one_the_wide(browser: Browser) -> None:
    shown = "[...document.querySelectorAll(\'svg.wide, svg.narrow\')].filter(it => it.getClientRects().length)"
    drawn = shown + ".map(it => it.classList[0])"
    for width_px, name in ((390, "narrow"), (1200, "wide")):
        with opened(browser, report(), width_px) as (page, _):
            assert page.evaluate(drawn) == [name, name]


def test_dark_mode_is_dark(browser: Browser) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with opened(browser, report(), scheme=scheme) as (page, _):
            grounds.append(page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor"))
    assert grounds[0] != grounds[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_pictures_paper_is_the_cards_ground(browser: Browser, scheme: Scheme) -> None:
    with opened(browser, comparison(), scheme=scheme) as (page, _):
        ground = page.evaluate("getComputedStyle(document.querySelector('section:has(figure)')).backgroundColor")
        with Image.open(BytesIO(page.locator("figure img").first.screenshot())) as picture:
            shown = picture.convert("RGB").getpixel((picture.width - 12, 12))
    assert f"rgb{shown}" == ground


def test_the_shadow_of_a_table_that_goes_on_is_light_on_dark_and_dark_on_light(browser: Browser) -> None:
    shadows: dict[Scheme, str] = {"light": "rgba(0, 0, 0, 0.16)", "dark": "rgba(255, 255, 255, 0.3)"}
    for scheme, shadow in shadows.items():
        with opened(browser, comparison(), 390, scheme) as (page, _):
            drawn = page.evaluate("getComputedStyle(document.querySelector('.scroll')).backgroundImage")
            assert drawn.count(shadow) == 2


def test_trades_sort_by_number_up_and_then_down(browser: Browser) -> None:
    shown = "[...document.querySelectorAll('.sortable tbody tr')].map(row => Number(row.cells[3].dataset.value))"
    with opened(browser, report()) as (page, complaints):
        page.get_by_role("button", name="P&L").click()
        upward = page.evaluate(shown)
        page.get_by_role("button", name="P&L").click()
        assert upward == sorted(upward)
        assert len(set(upward)) > 10
        assert page.evaluate(shown) == upward[::-1]
        assert page.evaluate("document.querySelectorAll('th[aria-sort]').length") == 1
        assert complaints == []


def test_a_hover_strip_tells_the_session_and_both_values(browser: Browser) -> None:
    with opened(browser, report()) as (page, _):
        told = page.evaluate("document.querySelector('svg.wide .hover title').textContent").split("\n")
    assert told[0].endswith("2019")
    assert told[1].endswith("after costs")
    assert told[2].endswith("before costs")


def test_the_date_of_a_single_session_is_whole(browser: Browser) -> None:
    alone = records_of([], equity_of(date(2020, 1, 2), [101_000]))
    with opened(browser, report_html(alone, summary_of(alone))) as (page, _):
        assert page.locator("svg.wide .date").all_text_contents() == ["2 Jan", "2 Jan"]
        assert page.evaluate(BROKEN_NUMBERS) == []
