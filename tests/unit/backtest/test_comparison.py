"""Strategies side by side: the same numbers as their own reports, and pictures that can be opened."""

from dataclasses import replace
from datetime import date
from io import BytesIO

import pytest
from matplotlib.figure import Figure
from PIL import Image

from closebell.backtest.records import BacktestRecords
from closebell.backtest.results import comparison_charts
from closebell.backtest.results.comparison import ComparedBacktest, ComparisonRow, comparison_rows, notes_told
from closebell.backtest.results.comparison_charts import comparison_pictures
from closebell.backtest.results.comparison_page import comparison_html
from closebell.backtest.results.files import csv_of
from closebell.backtest.summary import summary_of
from tests.unit.backtest.sample_records import equity_of, records_of, trade_of, year_and_a_half


def compared(name: str, records: BacktestRecords) -> ComparedBacktest:
    return ComparedBacktest(name, records, summary_of(records))


def test_a_row_has_the_summarys_numbers_after_and_before_costs() -> None:
    backtest = compared("rsi", year_and_a_half())
    (row,) = comparison_rows([backtest])
    assert row.name == "rsi"
    assert row._asdict() == {"name": "rsi"} | {key: backtest.summary[key] for key in ComparisonRow._fields[1:]}
    assert row.total_return_frac != row.gross_total_return_frac


def test_rows_keep_the_order_given_and_an_idle_strategy_has_empty_cells() -> None:
    idle = compared("idle", records_of([], equity_of(date(2020, 1, 2), [100_000] * 3, gross_above_usd="0")))
    rows = comparison_rows([compared("zeta", year_and_a_half()), idle])
    assert [row.name for row in rows] == ["zeta", "idle"]
    assert (rows[1].win_rate_frac, rows[1].trades_count) == (None, 0)
    assert csv_of(ComparisonRow, rows).decode().splitlines()[2].startswith("idle,0.0,0.0,")


@pytest.mark.filterwarnings("error")
def test_each_picture_opens_and_equal_backtests_give_equal_bytes() -> None:
    many = [compared(f"strategy_{at}", year_and_a_half()) for at in range(10)]
    pictures = comparison_pictures(many)
    assert list(pictures) == ["return_against_drawdown.png", "win_rate_against_sharpe.png", "equity_curves.png"]
    for content in pictures.values():
        with Image.open(BytesIO(content)) as image:
            assert image.format == "PNG"
            assert image.width == 1600
    assert comparison_pictures(many) == pictures


def test_pictures_of_idle_or_oddly_named_strategies_are_drawn() -> None:
    idle = records_of([], equity_of(date(2020, 1, 2), [100_000] * 3, gross_above_usd="0"))
    names = ("$\\bad$", "_hidden", "", "<b>")
    assert all(content.startswith(b"\x89PNG") for content in comparison_pictures([compared(n, idle) for n in names]).values())
    assert comparison_pictures([]) == {}


def test_of_a_long_name_the_pictures_show_the_ends_and_every_curve_keeps_its_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    def kept(figure: Figure) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr(comparison_charts, "_png", kept)
    comparison_pictures([compared(name, year_and_a_half()) for name in (f"a{'b' * 98}c", f"a{'b' * 97}d", "rsi", "ensemble")])
    for figure in figures:
        figure.draw_without_rendering()
        legend = figure.legends[0].get_window_extent()
        assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
        assert all(axes.get_window_extent().width > figure.bbox.width / 4 for axes in figure.axes)
    shown = [text.get_text() for text in figures[2].legends[0].get_texts()]
    assert shown == [f"a{'b' * 16}…{'b' * 16}c", f"a{'b' * 16}…{'b' * 16}d", "rsi", "ensemble"]


def test_a_note_of_one_backtest_has_its_name_and_a_note_of_all_has_none() -> None:
    flat = records_of([], equity_of(date(2020, 1, 2), [100_000]))
    idle, busy = replace(flat, warnings=("thin bars", "nothing was traded")), replace(flat, warnings=("thin bars",))
    backtests = [compared("rsi", idle), compared("ensemble", busy)]
    assert notes_told(backtests) == ["thin bars", "rsi: nothing was traded"]
    html = comparison_html(backtests, {})
    assert html.count("<li>") == 2
    assert "<li>rsi: nothing was traded</li>" in html
    assert notes_told([]) == []


def test_the_page_holds_table_warnings_and_pictures_and_escapes_names() -> None:
    records = replace(records_of([trade_of("5")], equity_of(date(2020, 1, 2), [110_000])), warnings=("not point in time",))
    backtests = [compared("<script>alert(1)</script>", records), compared("ensemble", records)]
    html = comparison_html(backtests, {"equity_curves.png": b"picture"})
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("not point in time") == 1
    assert 'alt="Equity curves, as in the table above" src="data:image/png;base64,cGljdHVyZQ=="' in html
    assert "<td>10.0\N{NO-BREAK SPACE}%<br>" in html
