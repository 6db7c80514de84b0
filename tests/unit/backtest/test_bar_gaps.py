"""The warning about sessions that a symbol lacks: between its first bar and its last, and only there."""

from dataclasses import replace

import numpy as np

from closebell.backtest.notes.gaps import gaps_warning, untraded_sessions_warning
from closebell.model.panel import BarPanel
from tests.unit.backtest.markets import seeded_panel


def without(panel: BarPanel, column: int, rows: slice) -> BarPanel:
    closes = panel.close.copy()
    closes[rows, column] = np.nan
    return replace(panel, close=closes)


def test_a_late_first_bar_and_an_early_last_one_are_no_gaps() -> None:
    panel = seeded_panel(3, 60, 4)
    assert gaps_warning(panel) is None
    assert gaps_warning(without(without(panel, 0, slice(0, 10)), 1, slice(50, 60))) is None


def test_the_symbols_with_the_most_gaps_come_first_with_their_count_and_the_first_of_them() -> None:
    panel = without(without(seeded_panel(3, 60, 4), 2, slice(20, 21)), 1, slice(30, 33))
    told = gaps_warning(panel)
    assert told is not None
    one, other = panel.symbols[1], panel.symbols[2]
    assert told.startswith(
        f"gaps: no bar of {one} on 3 (the first {panel.sessions[30]}), {other} on 1 (the first {panel.sessions[20]}); such"
    )


def test_no_more_than_five_symbols_are_listed() -> None:
    panel = seeded_panel(3, 60, 8)
    for column in range(7):
        panel = without(panel, column, slice(20, 22))
    assert "and 2 more symbols" in (gaps_warning(panel) or "")


def test_sessions_without_any_bar_are_told_once_and_are_no_symbols_gap() -> None:
    panel = seeded_panel(3, 60, 4)
    assert untraded_sessions_warning(panel) is None
    for column in range(4):
        panel = without(panel, column, slice(20, 22))
    told = untraded_sessions_warning(panel)
    assert told is not None
    assert told.startswith(f"no bar of any symbol on 2 sessions, the first {panel.sessions[20]}: taken for")
    assert gaps_warning(panel) is None
    for column in range(4):
        panel = without(panel, column, slice(21, 60))
    assert "on 40 sessions" in (untraded_sessions_warning(panel) or "")
