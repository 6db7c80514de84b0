"""Bars that must not be traded on, and bars that only look bad."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from closebell.analysis.validation import bar_problems, usable
from closebell.model.panel import BarPanel
from tests.unit.analysis.real_prices import between, stocks

ROWS, NEEDED = 60, 40
SESSIONS = np.busday_offset("2018-01-01", np.arange(ROWS), roll="forward").astype("datetime64[D]")
LAST: date = SESSIONS[-1].astype(object)

Change = Callable[[BarPanel], None]


def panel(*changes: Change) -> BarPanel:
    """Sound bars of two symbols; each change breaks the first."""
    moves = np.random.default_rng(11).normal(0.0, 0.01, (ROWS, 2))
    closes = np.asarray(100.0 * np.cumprod(1.0 + moves, axis=0), dtype=np.float64)
    volumes = np.full(closes.shape, 1e6)
    bars = BarPanel(SESSIONS, ("BAD", "GOOD"), closes * 1.001, closes * 1.02, closes * 0.98, closes, volumes)
    for change in changes:
        change(bars)
    return bars


def problem(bars: BarPanel, splits: dict[date, float] | None = None, session: date = LAST) -> str:
    """The reason the first symbol is skipped; the other must be fine."""
    problems = bar_problems(bars, session, {"BAD": splits or {}}, NEEDED)
    assert set(problems) <= {"BAD"}
    return problems.get("BAD", "")


def times(factor: float, begin: int, end: int | None = None, volume: float = 1.0) -> Change:
    """Multiply the first symbol's prices from a row on."""

    def change(bars: BarPanel) -> None:
        for field in (bars.open, bars.high, bars.low, bars.close):
            field[begin:end, 0] *= factor
        bars.volume[begin:end, 0] *= volume

    return change


def put(field: str, row: int, value: float) -> Change:
    def change(bars: BarPanel) -> None:
        getattr(bars, field)[row, 0] = value

    return change


def erase(begin: int, end: int | None = None) -> Change:
    def change(bars: BarPanel) -> None:
        for field in (bars.open, bars.high, bars.low, bars.close, bars.volume):
            field[begin:end, 0] = np.nan

    return change


def freeze(bars: BarPanel) -> None:
    for field in (bars.open, bars.high, bars.low, bars.close):
        field[-6:, 0] = field[-7, 0]
    bars.volume[-6:, 0] = np.nan


def test_sound_bars_have_no_problem() -> None:
    assert problem(panel()) == ""


def test_each_fault_is_told_until_it_is_mended() -> None:
    """One symbol with every fault at once: each row mends the fault that was told and meets the next."""
    incomplete, negative, upside_down = put("high", -9, np.nan), put("low", -8, -1.0), put("high", -7, 1.0)
    steps: list[tuple[str, list[Change]]] = [
        ("no bars at all", [erase(0)]),
        ("no bar for 2018-03-23; its last one is of 2018-03-19", [erase(-4)]),
        ("no bar for 2018-03-23; its last one is of 2018-03-22", [erase(-1)]),
        ("1 session of bars, 40 needed", [erase(0, -1)]),
        ("39 sessions of bars, 40 needed", [erase(0, 21), incomplete]),
        ("no bar in session 2018-03-12", [erase(-10, -9), incomplete, negative, upside_down]),
        ("incomplete bar in session 2018-03-13: open, high or low is missing", [incomplete, negative, upside_down]),
        ("zero or negative price or volume in session 2018-03-14", [negative, upside_down, times(100, -5)]),
        ("high below low in session 2018-03-15", [upside_down, times(100, -5), times(0.5, -3, volume=2)]),
        ("price jump in session 2018-03-19: ", [times(100, -5), times(0.5, -3, volume=2)]),
        ("looks like a split in session 2018-03-21 that the bars are not adjusted for: ", [put_gap(-3, 0.5)]),
        ("feed stands still: the same bar 5 sessions in a row up to 2018-03-23, and no volume", [freeze]),
        ("", []),
    ]
    for words, changes in steps:
        assert problem(panel(*changes)).startswith(words), words
        assert bool(problem(panel(*changes))) == bool(words)


def put_gap(row: int, ratio: float, volume: float | None = None) -> Change:
    """From `row` on the prices stand at an exact ratio of the close before, as after a split nobody adjusted for."""

    def change(bars: BarPanel) -> None:
        factor = ratio * bars.close[row - 1, 0] / bars.open[row, 0]
        times(factor, row, volume=1.0 / ratio if volume is None else volume)(bars)

    return change


@pytest.mark.parametrize("ratio", [100.0, 0.01, 30.5, 1 / 31])
def test_a_misplaced_decimal_is_a_jump(ratio: float) -> None:
    assert problem(panel(times(ratio, -5))).startswith("price jump in session 2018-03-19")


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 10, 1 / 20])
def test_an_unreported_split_is_seen_by_its_exact_ratio(ratio: float) -> None:
    assert problem(panel(put_gap(-5, ratio))).startswith("looks like a split in session 2018-03-19")
    assert problem(panel(put_gap(-5, ratio), lambda bars: bars.volume.fill(np.nan))).startswith("looks like a split")


@pytest.mark.parametrize("ratio", [0.7, 0.55, 0.48, 0.4, 1.52, 1.9, 2.2])
def test_a_crash_or_a_leap_is_no_split(ratio: float) -> None:
    assert problem(panel(put_gap(-5, ratio, volume=8.0))) == ""


def test_a_crash_to_the_half_with_a_crashs_volume_is_no_split() -> None:
    assert problem(panel(put_gap(-5, 0.5, volume=9.0))) == ""
    assert problem(panel(put_gap(-5, 0.5, volume=2.0))).startswith("looks like a split")


def test_a_leap_through_the_double_that_does_not_stay_is_no_split() -> None:
    def spike(bars: BarPanel) -> None:
        bars.open[-5, 0] = bars.close[-6, 0] * 2.0
        bars.high[-5, 0] = bars.open[-5, 0]

    assert problem(panel(spike)) == ""


EX_DATE: date = SESSIONS[-5].astype(object)


@pytest.mark.parametrize("ratio", [2.0, 1.5, 4.0, 0.5, 0.1, 7.0])
def test_a_reported_split_must_not_show_in_adjusted_bars(ratio: float) -> None:
    unadjusted = panel(times(0.97 / ratio, -5, volume=5.0))
    assert problem(unadjusted, {EX_DATE: ratio}).startswith("bars are not adjusted for the split of 2018-03-19")
    assert problem(panel(times(0.97, -5)), {EX_DATE: ratio}) == ""


def test_a_split_reported_for_a_weekend_is_looked_for_in_the_next_session() -> None:
    assert problem(panel(times(0.66, -5)), {date(2018, 3, 17): 1.5}).startswith("bars are not adjusted")


def test_a_small_reported_split_cannot_be_told_from_a_bad_day() -> None:
    assert problem(panel(times(0.95, -5)), {EX_DATE: 1.05}) == ""


def test_splits_outside_the_bars_are_no_concern() -> None:
    assert problem(panel(), {date(2010, 1, 4): 2.0, date(2030, 1, 4): 2.0}) == ""


def test_unknown_volume_is_never_a_problem() -> None:
    assert problem(panel(lambda bars: bars.volume.fill(np.nan))) == ""


def test_a_feed_that_stands_still_but_is_traded_is_alive() -> None:
    assert problem(panel(freeze, lambda bars: bars.volume.fill(5.0))) == ""


def test_a_feed_that_stood_still_and_moves_again_is_alive() -> None:
    def pause(bars: BarPanel) -> None:
        for field in (bars.open, bars.high, bars.low, bars.close):
            field[-20:-10, 0] = field[-21, 0]
        bars.volume.fill(np.nan)

    assert problem(panel(pause)) == ""


def test_a_source_of_closes_only_is_whole() -> None:
    def closes_only(bars: BarPanel) -> None:
        for field in (bars.open, bars.high, bars.low, bars.volume):
            field.fill(np.nan)

    assert problem(panel(closes_only)) == ""
    assert problem(panel(closes_only, times(0.01, -5))).startswith("price jump in session 2018-03-19")
    assert problem(panel(closes_only, put("close", -5, np.nan))) == "no bar in session 2018-03-19"


def test_faults_older_than_the_window_are_forgotten() -> None:
    assert problem(panel(put("close", ROWS - NEEDED - 1, -3.0))) == ""
    assert problem(panel(put("close", ROWS - NEEDED, -3.0))) != ""
    assert problem(panel(times(100, ROWS - NEEDED))) == ""
    assert problem(panel(times(100, ROWS - NEEDED + 1))) != ""


def test_bars_after_the_session_are_not_looked_at() -> None:
    session: date = SESSIONS[-2].astype(object)
    assert problem(panel(put("close", -1, -3.0)), session=session) == ""


def test_no_bars_for_the_session_stops_every_symbol() -> None:
    assert set(bar_problems(panel(), date(2018, 3, 26), {}, NEEDED)) == {"BAD", "GOOD"}
    assert bar_problems(BarPanel.empty(("A",)), LAST, {}, NEEDED) == {"A": "no bars at all"}


def test_usable_agrees_with_the_reasons_after_every_session() -> None:
    changes = (
        erase(0, 3), put("low", 8, 0.0), times(0.25, 20, volume=4), times(3.0, 26, 30), erase(33, 34), put("high", 45, 1.0),
        freeze,
    )
    splits = {"BAD": {SESSIONS[20].astype(object): 4.0}}
    for change in changes:
        bars = panel(change)
        flags = usable(bars, splits, 10)
        for row in range(ROWS):
            assert flags[row, 0] == ("BAD" not in bar_problems(bars, SESSIONS[row].astype(object), splits, 10)), (change, row)
        assert flags[9:, 1].all()


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_short_a_history_is_not_usable_whatever_is_wrong_in_it(rows: int) -> None:
    bars = panel(erase(0, 1)).rows(slice(0, rows))
    assert not usable(bars, {}, 10).any()


def test_usable_does_not_depend_on_where_the_history_begins() -> None:
    bars = panel(times(100, 30, 31), erase(12, 13))
    whole = usable(bars, {}, 10)
    for start in (5, 12, 13, 30, 31):
        np.testing.assert_array_equal(usable(bars.rows(slice(start, None)), {}, 10)[9:], whole[start:][9:])


def test_eight_real_years_of_20_stocks_are_sound() -> None:
    """Covid, AMD's +52 % of 2016-04-22 and GE's slide are markets, not faults."""
    bars = stocks().rows(between(stocks(), "2014-01-02", "2022-12-28"))
    flags = usable(bars, {}, 220)
    assert flags[219:].all()
    assert flags.shape == (2264, 20)
    assert bar_problems(bars, date(2020, 3, 16), {}, 220) == {}


def test_real_prices_times_100_are_caught() -> None:
    bars = stocks().rows(between(stocks(), "2017-01-03", "2018-10-01"))
    closes = bars.close.copy()
    closes[-1, 0] *= 100
    found = bar_problems(replace(bars, close=closes), date(2018, 10, 1), {}, 220)
    assert list(found) == ["AAPL"]
    assert found["AAPL"].startswith("price jump in session 2018-10-01")


def test_a_negative_volume_is_a_fault() -> None:
    assert problem(panel(put("volume", -3, -1.0))).startswith("zero or negative price or volume in session 2018-03-21")


def test_half_the_price_on_less_volume_than_a_split_brings_is_no_split() -> None:
    assert problem(panel(put_gap(-5, 0.5, volume=0.9))) == ""
    assert problem(panel(put_gap(-5, 0.5, volume=1.1))).startswith("looks like a split")
