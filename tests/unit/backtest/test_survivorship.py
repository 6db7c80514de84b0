"""The survivorship warning: said when nobody ever left, and only then."""

from dataclasses import replace

import numpy as np

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.backtest.notes.survivorship import survivorship_warning
from closebell.model.panel import BarPanel
from closebell.simulation.real_prices import RealPrices
from tests.unit.backtest.markets import seeded_panel


def ending_early(panel: BarPanel, column: int, rows_count: int) -> BarPanel:
    closes = panel.close.copy()
    closes[len(closes) - rows_count :, column] = np.nan
    return replace(panel, close=closes)


def test_the_demos_stocks_all_survived() -> None:
    told = survivorship_warning(RealPrices(ExchangeCalendar()).panel())
    assert told is not None
    assert told.startswith("survivorship: all 22 symbols of the universe trade to the end of 1999-01-04 to 2018-12-31")


def test_one_symbol_that_left_is_enough_to_say_nothing() -> None:
    panel = seeded_panel(3, 400, 6)
    assert survivorship_warning(panel)
    assert survivorship_warning(ending_early(panel, 2, 60)) is None


def test_who_lacks_the_last_sessions_alone_was_downloaded_earlier_and_did_not_leave() -> None:
    panel = seeded_panel(3, 400, 6)
    assert survivorship_warning(ending_early(panel, 2, 1)) == survivorship_warning(panel)
    assert survivorship_warning(ending_early(panel, 2, 5)) == survivorship_warning(panel)
    assert survivorship_warning(ending_early(panel, 2, 6)) is None


def test_a_symbol_that_was_listed_late_has_not_left() -> None:
    panel = seeded_panel(3, 400, 6)
    closes = panel.close.copy()
    closes[:200, 1] = np.nan
    assert survivorship_warning(replace(panel, close=closes))


def test_a_symbol_without_bars_is_not_counted() -> None:
    told = survivorship_warning(ending_early(seeded_panel(3, 400, 6), 2, 400))
    assert told is not None
    assert "all 5 symbols" in told


def test_four_symbols_are_too_few_to_tell() -> None:
    assert survivorship_warning(seeded_panel(3, 400, 5))
    assert survivorship_warning(seeded_panel(3, 400, 4)) is None


def test_a_year_is_too_short_to_tell() -> None:
    panel = seeded_panel(3, 253, 6)
    assert survivorship_warning(panel)
    assert survivorship_warning(panel.rows(slice(1, None))) is None
