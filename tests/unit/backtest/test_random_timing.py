"""Whether trades are better than at random times, against a plain loop, and where the market itself rises."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from random import Random

import numpy as np
import pytest

from closebell.backtest.records import ClosedBy, TradeRow
from closebell.backtest.summary import Floats
from closebell.backtest.validation import random_timing as rt
from closebell.backtest.validation.random_timing import RandomTiming, draws_wanted, random_timing
from closebell.backtest.validation.verdict import RANDOM_TIMING_P_FRAC_MAX
from closebell.model.panel import BarPanel
from tests.unit.backtest.sample_records import trade_of

SEED = 7
STEP_FRAC = 0.01
OtherMarket = list[tuple[int, dict[str, str]]]
"""Sessions in another order, as rows, each with what its symbols are called."""


def panel_of(closes: Floats, opens: Floats | None = None) -> BarPanel:
    days = np.datetime64("2020-01-01") + np.arange(len(closes))
    opened = np.vstack([closes[:1], closes[:-1]]) if opens is None else opens
    return BarPanel(days, tuple(f"S{column}" for column in range(closes.shape[1])), opened, closes, closes, closes, closes)


def p_value(trades: Sequence[TradeRow], panel: BarPanel) -> float:
    found = random_timing(trades, panel, SEED)
    assert found is not None
    return found.p_frac


def random_panel(seed: int, sessions_count: int, symbols_count: int, drift_frac: float = 0.0) -> BarPanel:
    steps = np.random.default_rng(seed).normal(drift_frac, STEP_FRAC, (2 * sessions_count, symbols_count))
    points = 100.0 * np.exp(np.cumsum(steps, axis=0))
    return panel_of(points[1::2], points[::2])


def spells_panel() -> BarPanel:
    """Sixty sessions of symbols each wilder than the next; every spell of six sessions has a drift; up by day, down by night."""
    drifts = np.repeat(np.random.default_rng(SEED).normal(0.0, STEP_FRAC, (10, 3)) * [2.0, 1.0, 0.5], 12, axis=0)
    points = 100.0 * np.exp(np.cumsum(drifts + np.tile([[-STEP_FRAC], [STEP_FRAC]], (60, 1)), axis=0))
    return panel_of(points[1::2], points[::2])


def scaled(trade: TradeRow, factor: float) -> TradeRow:
    """So many times as many shares."""
    ratio = Decimal(f"{factor}")
    return trade._replace(quantity_shares=trade.quantity_shares * ratio, gross_pnl_usd=trade.gross_pnl_usd * ratio)


def bought(panel: BarPanel, symbol: str, opened: int, closed: int, closed_by: ClosedBy = ClosedBy.SIGNAL) -> TradeRow:
    """Ten shares at the open of a row, sold at the open of another, or at its close where a stop or a target sold."""
    column = panel.symbols.index(symbol)
    left = panel.open if closed_by is ClosedBy.SIGNAL else panel.close
    gain = 1000.0 * (left[closed, column] / panel.open[opened, column] - 1.0)
    days: list[date] = panel.sessions.astype(object).tolist()
    return trade_of(f"{gain - 6.5:.9f}", symbol=symbol, closed_by=closed_by)._replace(
        opened_session=days[opened], closed_session=days[closed]
    )


def random_trades(panel: BarPanel, seed: int, count: int) -> list[TradeRow]:
    draw = np.random.default_rng(seed)
    starts = draw.integers(0, len(panel.sessions) - 6, count)
    return [bought(panel, f"S{draw.integers(len(panel.symbols))}", int(row), int(row) + 5) for row in starts]


def elsewhere(symbols: Sequence[str], sessions_count: int, block_sessions: float, draw: Random) -> OtherMarket:
    """A market that begins anywhere and is cut by chance after any session, the pieces shuffled, other names in each piece."""
    start = draw.randrange(sessions_count)
    pieces = [[start]]
    for row in [*range(start + 1, sessions_count), *range(start)]:
        pieces.append([row]) if draw.random() < 1 / block_sessions else pieces[-1].append(row)
    draw.shuffle(pieces)
    named = [dict(zip(symbols, draw.sample(symbols, len(symbols)), strict=True)) for _ in pieces]
    return [(row, names) for piece, names in zip(pieces, named, strict=True) for row in piece]


def gain_usd(panel: BarPanel, trade: TradeRow, market: OtherMarket) -> float:
    """What a thousand dollars in the trade would have gained in another market, price by price."""
    days = panel.sessions.astype(object).tolist()
    worth, held = 1000.0, market[days.index(trade.opened_session) : days.index(trade.closed_session) + 1]
    for place, (row, names) in enumerate(held):
        column = panel.symbols.index(names[trade.symbol])
        if place and row:
            worth *= panel.open[row, column] / panel.close[row - 1, column]
        if place < len(held) - 1 or trade.closed_by is not ClosedBy.SIGNAL:
            worth *= panel.close[row, column] / panel.open[row, column]
    return worth - 1000.0


@pytest.mark.parametrize("closed_by", [ClosedBy.SIGNAL, ClosedBy.STOP])
def test_the_draws_come_to_what_a_plain_loop_over_prices_comes_to(closed_by: ClosedBy) -> None:
    """In a market of spells, as it rises by day and falls by night: halves and the length of blocks make a difference."""
    panel, draw = spells_panel(), Random(SEED)
    places = (("S0", 12, 9.0), ("S1", 3, 1.0), ("S0", 8, 1.0), ("S2", 18, 4.0))
    trades = [scaled(bought(panel, symbol, row, row + 5, closed_by), factor) for symbol, row, factor in places]
    earned, reordered = sum(float(trade.gross_pnl_usd) for trade in trades), []
    for _ in range(4000):
        market = elsewhere(panel.symbols, 60, 10, draw)
        gains = [gain_usd(panel, trade, market) for trade in trades]
        reordered.append(sum(factor * gain for (_, _, factor), gain in zip(places, gains, strict=True)))
    reached_frac, found = np.mean(np.array(reordered) >= earned), random_timing(trades, panel, SEED)
    assert found is not None
    assert 0.1 < reached_frac < 0.9, "the case can tell"
    assert found.p_frac == pytest.approx(reached_frac, abs=0.03)
    assert found.reordered_median_usd == pytest.approx(np.median(reordered), abs=0.1 * float(np.std(reordered)))


def test_where_everything_rises_trades_without_reason_are_no_skill() -> None:
    found = []
    for seed in range(40):
        panel = random_panel(seed, 250, 5, drift_frac=0.002)
        trades = random_trades(panel, seed, 60)
        assert sum(trade.pnl_usd for trade in trades) > 0, "they earn, because everything does"
        found.append(p_value(trades, panel))
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)
    assert np.mean(np.array(found) <= 0.05) <= 0.1


def test_who_buys_before_rises_is_better_than_at_any_other_time() -> None:
    panel = random_panel(2, 250, 5)
    rises = np.argsort((panel.close - panel.open).max(axis=1))[-40:]
    trades = [bought(panel, f"S{(panel.close - panel.open)[row].argmax()}", row, row, ClosedBy.STOP) for row in rises.tolist()]
    assert p_value(trades, panel) == pytest.approx(1 / 10_001)


@pytest.mark.parametrize(
    ("rising_count", "places", "expected"),
    [
        pytest.param(2, (("S0", 30), ("S1", 30)), 1 / 6, id="two at once stand for any two"),
        pytest.param(1, (("S0", 30), ("S0", 200)), 1 / 16, id="far apart one symbol stands for any, and again for any"),
    ],
)
def test_who_buys_what_always_rises_is_as_lucky_as_a_draw_of_symbols(
    rising_count: int, places: Sequence[tuple[str, int]], expected: float
) -> None:
    """Of four symbols some always rise and the others never do: when one buys makes no difference."""
    rise = np.where(np.arange(4) < rising_count, 1.01, 0.99)
    closes = 100.0 * rise ** np.arange(250.0)[:, None]
    panel = panel_of(closes, closes / rise)
    trades = [bought(panel, symbol, row, row, ClosedBy.STOP) for symbol, row in places]
    assert p_value(trades, panel) == pytest.approx(expected, abs=0.03)


def test_who_knows_the_day_on_which_everything_rises_is_no_noise() -> None:
    """Trades that are moved as they stand would fall on the same weekday in every fifth draw."""
    panel = random_panel(5, 250, 5)
    rise = np.where(np.arange(250) % 5 == 4, 1.01, 1.0)[:, None]
    risen = panel_of(panel.close * np.cumprod(rise, axis=0), panel.open * np.cumprod(rise, axis=0) / rise)
    trades = [bought(risen, f"S{row % 4}", row, row, ClosedBy.STOP) for row in range(4, 250, 5)]
    assert p_value(trades, risen) < 0.01


def test_who_holds_everything_all_the_time_has_no_timing_to_show() -> None:
    risen = random_panel(6, 250, 5, drift_frac=0.002)
    trades = [bought(risen, symbol, 0, 249) for symbol in risen.symbols]
    assert sum(trade.pnl_usd for trade in trades) > 0
    assert p_value(trades, risen) > 0.05


def test_where_every_session_rises_alike_no_time_is_better_than_another() -> None:
    """Sums of logarithms come to slightly different gains in every order: they are equal all the same."""
    closes = np.repeat(100.0 * 1.01 ** np.arange(100.0)[:, None], 3, axis=1)
    steady = panel_of(closes, closes / 1.01)
    assert p_value([bought(steady, "S1", row, row + 5) for row in range(1, 90, 8)], steady) == pytest.approx(1.0)


def test_a_time_without_bars_is_no_safe_place() -> None:
    """Nine of ten symbols are listed late: before that, a trade earns there what the others earn."""
    steady = np.repeat(100.0 * 1.01 ** np.arange(100.0)[:, None], 10, axis=1)
    closes = steady.copy()
    closes[:80, 1:] = np.nan
    panel = panel_of(closes)
    trades = [bought(panel, "S0", row, row + 5) for row in range(2, 90, 8)]
    assert p_value(trades, panel) > 0.05


@pytest.mark.parametrize("trades", [(), []])
def test_without_trades_nothing_can_be_told(trades: Sequence[TradeRow]) -> None:
    assert random_timing(trades, random_panel(3, 20, 2), SEED) is None


def test_the_best_of_several_tries_needs_to_be_better() -> None:
    draws, alone = np.random.default_rng(SEED).uniform(size=(200_000, 4)).min(axis=1), RandomTiming(10.0, 5.0, 0.03)
    assert alone.among(4).p_frac == pytest.approx(np.mean(draws <= 0.03), abs=0.002)
    assert alone.among(1).p_frac == pytest.approx(0.03)


@pytest.mark.parametrize("judged_count", [100, 101, 1_000])
def test_however_many_were_judged_trades_that_no_market_reaches_can_still_pass(judged_count: int) -> None:
    best = RandomTiming(10.0, 5.0, 1 / (1 + draws_wanted(0, judged_count))).among(judged_count)
    assert best.p_frac < RANDOM_TIMING_P_FRAC_MAX
    assert (draws_wanted(2, judged_count), draws_wanted(20, judged_count)) == (10_000, 1_000), "no longer at stake"


def test_as_many_markets_are_drawn_as_were_judged_ask_for() -> None:
    """Who knows each day's best symbol: no other market lets the trades earn as much."""
    panel = random_panel(8, 60, 5)
    gains = panel.close / panel.open
    trades = [bought(panel, panel.symbols[int(gains[row].argmax())], row, row, ClosedBy.STOP) for row in range(1, 60)]
    found = random_timing(trades, panel, SEED, judged_count=60)
    assert found is not None
    assert found.p_frac == 1 / 12_001


@pytest.mark.parametrize(("closed_by", "like"), [
    (ClosedBy.TIME_STOP, ClosedBy.SIGNAL), (ClosedBy.RISK, ClosedBy.SIGNAL), (ClosedBy.TARGET, ClosedBy.STOP),
    (ClosedBy.END, ClosedBy.STOP), (ClosedBy.DELISTED, ClosedBy.STOP),
])  # fmt: skip
def test_what_the_morning_sells_is_held_to_the_open_and_all_else_to_the_close(closed_by: ClosedBy, like: ClosedBy) -> None:
    panel = spells_panel()
    known = [bought(panel, "S0", 12, 17, like), bought(panel, "S2", 30, 31, like)]
    told = [trade._replace(closed_by=closed_by) for trade in known]
    assert random_timing(told, panel, SEED) == random_timing(known, panel, SEED)


def test_the_markets_are_drawn_by_the_seed() -> None:
    panel = spells_panel()
    trades = [bought(panel, "S0", 12, 17)]
    assert random_timing(trades, panel, 1) == random_timing(trades, panel, 1) != random_timing(trades, panel, 2)


@pytest.mark.parametrize(("held_sessions", "expected"), [(1, 5.0), (12, 24.0)])
def test_blocks_are_twice_as_long_as_trades_and_a_week_at_least(
    held_sessions: int, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, seen, draw = random_panel(3, 60, 3), set[float](), rt._elsewhere

    def elsewhere_seen(held: rt._Held, shape: tuple[int, ...], block_sessions: float, generator: np.random.Generator) -> object:
        seen.add(block_sessions)
        return draw(held, shape, block_sessions, generator)

    monkeypatch.setattr(rt, "_elsewhere", elsewhere_seen)
    random_timing([bought(panel, "S0", 5, 20)._replace(held_sessions=held_sessions)], panel, SEED)
    assert seen == {expected}
