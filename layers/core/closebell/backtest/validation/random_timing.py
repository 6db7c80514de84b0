"""Whether a backtest's trades were better than the same trades in a market that they could not know.

Who only buys earns what the market earns, and in years in which prices rise whatever is bought looks like skill, with a Sharpe
ratio to show. Here the round trips stay as they are, and the market's sessions are put into another order, in blocks; in each
block the symbols have other names. So there are as many positions at once, as long, for as much money, on the same price moves.
What is lost is the reason why then and there. Trades without a reason earn as much in such a market, on average, as in the real
one.

After Aronson, Evidence-Based Technical Analysis, Wiley 2006: a rule's positions, permuted against the market; here in blocks,
since rises and unrest come in spells.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from closebell.backtest.records import ClosedBy, TradeRow
from closebell.backtest.summary import Floats
from closebell.backtest.validation.statistics import DRAWS_COUNT
from closebell.model.panel import BarPanel

BLOCK_SESSIONS_MIN, BLOCK_HOLDS = 5, 2
"""A block lasts, on average, so many sessions, or so many times as long as a trade, whichever is more."""
DRAWS_COUNT_MAX, REACHED_COUNT_ENOUGH = 10_000, 20
"""More are drawn while fewer markets than enough let the trades earn as much (Besag and Clifford, Biometrika 78, 1991): the
smaller a p-value is, the more exactly it has to be known."""
DRAWS_A_JUDGED, REACHED_COUNT_AT_STAKE = 200, 1
"""So many more for each configuration that was judged, while no more markets than this reach it: that of the best of K is about
K times the p-value, which no number of draws fewer than 100 K brings to one percent."""
TIE_FRAC = 1e-9
"""Gains that differ by less, of what was paid, are equal: where every session moves alike no order is better than another."""
_AT_THE_OPEN = {ClosedBy.SIGNAL, ClosedBy.TIME_STOP, ClosedBy.RISK}
"""What is sold by an order of the morning; everything else is counted to the close of its session."""

Places = NDArray[np.intp]


class RandomTiming(NamedTuple):
    """What round trips have earned before costs (USD), what they earn in the median of the reordered markets, and how often they
    earn as much there (`p_frac`)."""

    earned_usd: float
    reordered_median_usd: float
    p_frac: float

    def among(self, count: int) -> Self:
        """With the p-value that the best of `count` independent tries has (Sidak's correction)."""
        return self._replace(p_frac=1.0 - (1.0 - self.p_frac) ** count)


class _Held(NamedTuple):
    """Round trips as places in a panel: of each its column and what was paid (USD), and all their half sessions in one list.

    Session t has the halves 2t (from the close before to its open) and 2t + 1 (to its close); `trips` says whose a half is.
    """

    columns: Places
    paid_usd: Floats
    halves: Places
    trips: Places


def random_timing(trades: Sequence[TradeRow], panel: BarPanel, seed: int, judged_count: int = 1) -> RandomTiming | None:
    """Round trips against the same ones in a thousand reordered markets, or as many as `draws_wanted`; None without any.

    `panel` is of the universe and of the sessions that were traded, adjusted for splits. The p-value is of one configuration
    alone, drawn so exactly that it can be `among` the `judged_count` ones.
    """
    if not trades:
        return None
    held, steps, generator = _held(trades, panel), _log_steps(panel), np.random.default_rng(seed)
    block_sessions = max(BLOCK_SESSIONS_MIN, BLOCK_HOLDS * float(np.mean([trade.held_sessions for trade in trades])))
    earned_usd = float(sum(trade.gross_pnl_usd for trade in trades))
    enough_usd = earned_usd - TIE_FRAC * float(held.paid_usd.sum())
    reordered_usd, reached_count = list[float](), 0
    while len(reordered_usd) < draws_wanted(reached_count, judged_count):
        moves = steps[_elsewhere(held, panel.close.shape, block_sessions, generator)]
        reordered_usd.append(float(held.paid_usd @ np.expm1(np.bincount(held.trips, moves, minlength=len(trades)))))
        reached_count += reordered_usd[-1] >= enough_usd
    return RandomTiming(earned_usd, float(np.median(reordered_usd)), (1 + reached_count) / (1 + len(reordered_usd)))


def draws_wanted(reached_count: int, judged_count: int) -> int:
    """How many markets are drawn when so many of those drawn let the trades earn as much."""
    if reached_count >= REACHED_COUNT_ENOUGH:
        return DRAWS_COUNT
    return max(DRAWS_COUNT_MAX, DRAWS_A_JUDGED * judged_count if reached_count <= REACHED_COUNT_AT_STAKE else 0)


def _held(trades: Sequence[TradeRow], panel: BarPanel) -> _Held:
    column_of = {symbol: column for column, symbol in enumerate(panel.symbols)}
    row_of = {day: row for row, day in enumerate(panel.days)}
    ends = [2 * row_of[trade.closed_session] + (1 if trade.closed_by in _AT_THE_OPEN else 2) for trade in trades]
    halves = [np.arange(2 * row_of[trade.opened_session] + 1, end) for trade, end in zip(trades, ends, strict=True)]
    return _Held(
        columns=np.array([column_of[trade.symbol] for trade in trades]),
        paid_usd=np.array([float(trade.quantity_shares * trade.entry_price_usd) for trade in trades]),
        halves=np.concatenate(halves),
        trips=np.repeat(np.arange(len(trades)), [len(each) for each in halves]),
    )


def _elsewhere(
    held: _Held, shape: tuple[int, ...], block_sessions: float, generator: np.random.Generator
) -> tuple[Places, Places]:
    """What stands for each half session that is held: its place in the steps and its column.

    The sessions are cut into blocks of geometric length that are put one after the other by chance; it begins anywhere. The names
    are written around a ring by chance, and for each block it is turned.
    """
    sessions_count, symbols_count = shape
    begun = np.roll(np.arange(sessions_count), generator.integers(sessions_count))
    blocks = np.split(begun, np.flatnonzero(generator.random(sessions_count - 1) < 1.0 / block_sessions) + 1)
    shuffled = [blocks[place] for place in generator.permutation(len(blocks))]
    order, block_of = np.concatenate(shuffled), np.repeat(np.arange(len(blocks)), [len(block) for block in shuffled])
    ring, turns = generator.permutation(symbols_count), generator.integers(symbols_count, size=len(blocks))
    places = held.halves // 2
    return 2 * order[places] + held.halves % 2, ring[(held.columns[held.trips] + turns[block_of[places]]) % symbols_count]


def _log_steps(panel: BarPanel) -> Floats:
    """The logarithmic price moves of all half sessions x symbols.

    Where a symbol has no price it moves as the others do on average: a time without trading would be a safe place. The first
    session has no close before it.
    """
    prices = np.stack([panel.open, panel.close], axis=1).reshape(-1, panel.close.shape[1])
    steps = np.diff(np.log(prices), axis=0, prepend=np.log(prices[:1]))
    is_known = np.isfinite(steps)
    means = np.where(is_known, steps, 0.0).sum(axis=1) / np.maximum(is_known.sum(axis=1), 1)
    return np.where(is_known, steps, means[:, None])
