"""The report: its numbers are the backtest's, and nothing in a user's files can become markup."""

import re
from base64 import b64encode
from datetime import date
from decimal import Decimal
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from closebell.backtest.records import ClosedBy
from closebell.backtest.results import report_page
from closebell.backtest.results.curve_svg import (
    NARROW,
    WIDE,
    Canvas,
    drawdown_svg,
    equity_svg,
    kept_indices,
    round_ticks,
    with_room,
)
from closebell.backtest.results.monthly_returns import year_rows
from closebell.backtest.results.report_page import report_html, shade, shown
from closebell.backtest.summary import summary_of
from tests.unit.backtest.sample_records import CASH_USD, equity_of, records_of, trade_of, year_and_a_half

HOSTILE = "</td></table><script>window.owned=1</script><img src=https://evil.example/x onerror='owned=1'>\"' {{ 7*7 }}"


class _Elements(HTMLParser):
    """Every element that starts, with its attributes, and all of the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_are_shown_and_never_markup() -> None:
    trade = trade_of("5", symbol=HOSTILE, sector=HOSTILE, reason=HOSTILE, strategies=(HOSTILE,))
    records = records_of([trade], equity_of(date(2020, 1, 2), [100_005]), label=HOSTILE, warnings=(HOSTILE,))
    page = _Elements(report_html(records, summary_of(records)))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 5


def test_the_page_asks_the_network_for_nothing_and_runs_only_its_own_script() -> None:
    records = year_and_a_half()
    html = report_html(records, summary_of(records))
    page = _Elements(html)
    links = [value for _, given in page.elements for name, value in given.items() if name in {"src", "href", "srcset"}]
    assert links == ["data:,"]
    assert "url(" not in html
    assert "@import" not in html
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    assert f"script-src 'sha256-{b64encode(sha256(script[1].encode()).digest()).decode()}'" in html


def test_every_attribution_table_ends_in_the_accounts_profit() -> None:
    trades = [trade_of("10.00", strategies=("rsi", "macd", "momentum")), trade_of("-3.33", strategies=("rsi", "macd"))]
    records = records_of(trades, equity_of(date(2020, 1, 2), ["100006.67"]))
    html = report_html(records, summary_of(records))
    assert re.findall(r"Sum</td>.*?>([^<>]+)</td></tr></tfoot>", html) == ["+$6.67"] * 3
    assert "The account earned +$6.67 after costs" in html


def test_numbers_before_costs_stand_beside_those_after() -> None:
    records = records_of([trade_of("5")], equity_of(date(2020, 1, 2), [110_000], gross_above_usd="10000"))
    html = report_html(records, summary_of(records))
    assert "<b>10.0\N{NO-BREAK SPACE}%</b><span>20.0\N{NO-BREAK SPACE}% before costs</span>" in html


def test_costs_lead_from_profit_before_to_profit_after() -> None:
    records = records_of([trade_of("5"), trade_of("-2")], equity_of(date(2020, 1, 2), [100_003]))
    text = _Elements(report_html(records, summary_of(records))).text
    for line in ("Profit before costs+$16.00", "slippage\u2212$3.00", "Commission\u2212$10.00", "Profit after costs+$3.00"):
        assert line in text


def test_what_was_closed_only_because_the_test_ended_is_marked() -> None:
    records = records_of([trade_of("5", closed_by=ClosedBy.END), trade_of("1")], equity_of(date(2020, 1, 2), [100_006]))
    html = report_html(records, summary_of(records))
    assert "1 position was still open at the end" in html
    assert html.count('class="tag forced"') == 2
    assert html.count('class="tag"') == 1


def test_warnings_and_halts_come_before_the_numbers() -> None:
    records = year_and_a_half()
    html = report_html(records, summary_of(records))
    assert html.index("delisted symbols are missing") < html.index('class="cards"')
    assert "halted itself 2 times" in html
    calm = records_of(records.trades, records.equity)
    assert "Before you trust this" not in report_html(calm, summary_of(calm))


def test_a_backtest_in_which_nothing_happened_still_has_a_page() -> None:
    empty = records_of([], [])
    html = report_html(empty, summary_of(empty))
    assert "No session was traded." in html
    assert "No trade was made." in html


def test_of_too_many_trades_those_that_moved_the_account_most_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "TRADES_SHOWN_MAX", 2)
    trades = [trade_of("1", symbol="SMALL"), trade_of("-90", symbol="LOSS"), trade_of("80", symbol="GAIN")]
    records = records_of(trades, equity_of(date(2020, 1, 2), [99_991]))
    html = report_html(records, summary_of(records))
    assert "<b>LOSS</b>" in html
    assert "<b>GAIN</b>" in html
    assert "<b>SMALL</b>" not in html
    assert "trades.csv has them all" in html


def test_months_compound_to_their_year_from_the_opening_cash() -> None:
    equity = [*equity_of(date(2019, 12, 30), [101_000, 102_000, 99_960]), *equity_of(date(2020, 3, 31), [109_956])]
    first, second = year_rows(equity, CASH_USD)
    assert (first.year, first.year_return_frac) == (2019, Decimal("0.02"))
    assert first.month_returns_frac == (*[None] * 11, Decimal("0.02"))
    assert second.month_returns_frac[:4] == (Decimal("-0.02"), None, Decimal("0.1"), None)
    assert second.year_return_frac == Decimal("0.078")


@pytest.mark.parametrize(
    ("return_frac", "named"),
    [("0.05", "up4"), ("0.04", "up4"), ("0.039", "up3"), ("0.011", "up2"), ("0.0006", "up1"), ("0.0004", ""), ("-0.03", "down3")],
)
def test_a_month_is_shaded_by_its_size(return_frac: str, named: str) -> None:
    assert shade(Decimal(return_frac)) == named


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("total_return_frac", 0.1234, "12.3\N{NO-BREAK SPACE}%"),
        ("drawdown_frac_max", 0.0123, "1.23\N{NO-BREAK SPACE}%"),
        ("cost_usd", -1234.5, "\u2212$1,234.50"),
        ("sharpe_annual_ratio", 1.5, "1.50"),
        ("trades_count", 1234, "1,234"),
        ("calmar_ratio", None, "\u2013"),
        ("profit_factor_ratio", float("inf"), "\u2013"),
    ],
)
def test_a_number_is_shown_in_its_unit(key: str, value: float | None, text: str) -> None:
    assert shown(key, value) == text


def test_thinning_a_long_curve_keeps_its_ends_and_its_deepest_point() -> None:
    values = [100.0 + at % 7 for at in range(10_000)]
    values[6_123] = 3.0
    kept = kept_indices(values, 300)
    assert {0, 6_123, 9_999} <= set(kept)
    assert kept == sorted(kept)
    assert len(kept) <= 602


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (99_871.3, 104_220.9), (100.0, 100.0), (-0.31, 0.0), (0.0, 0.0)])
def test_ticks_are_round_few_and_enclose_the_values(low: float, high: float) -> None:
    ticks = round_ticks(low, high, 5)
    assert ticks[0] <= low
    assert high <= ticks[-1]
    assert 2 <= len(ticks) <= 7


def test_an_account_that_moved_by_less_than_a_cent_has_ticks_that_tell_it() -> None:
    drawn = equity_svg(equity_of(date(2020, 1, 2), ["100000.0004", "100000.001"], "0"), CASH_USD, WIDE)
    labels = re.findall(r'class="tick"[^>]*>([^<]+)<', drawn)
    assert labels == [f"$100,000.000{at}" for at in range(0, 10, 2)] + ["$100,000.0010"]


@pytest.mark.parametrize("canvas", [WIDE, NARROW])
def test_the_axis_of_a_large_account_has_room_for_its_amounts(canvas: Canvas) -> None:
    large = equity_of(date(2020, 1, 2), [11_000_000_000])
    drawn = with_room(canvas, large, Decimal(10_000_000_000))
    assert canvas.left_px + 30 < drawn.left_px < canvas.left_px + 60
    assert f'd="M{drawn.left_px} ' in equity_svg(large, Decimal(10_000_000_000), drawn)
    assert f'd="M{drawn.left_px} ' in drawdown_svg(large, drawn)
    assert with_room(canvas, equity_of(date(2020, 1, 2), [101_000]), CASH_USD) == canvas


def test_an_axis_of_half_percents_does_not_round_its_labels() -> None:
    labels = re.findall(r'class="tick"[^>]*>([^<]+)<', drawdown_svg(equity_of(date(2020, 1, 2), [100_000, 93_000]), WIDE))
    assert labels == [f"{text}\N{NO-BREAK SPACE}%" for text in ("\u22127.5", "\u22125.0", "\u22122.5", "0.0")]
