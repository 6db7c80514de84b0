"""What each strategy, each regime and each kind of exit contributed to the account's profit or loss.

Shares are computed as exact fractions and rounded once, at the end, by largest remainder: what a table shows adds up.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import product

from closebell.backtest.records import ShareRow, TradeRow
from closebell.model.decision import Trend, Volatility

CENT_USD = Decimal("0.01")
HUNDREDTH = Decimal("0.01")
UNATTRIBUTED = "no strategy"


def by_strategy(trades: Sequence[TradeRow]) -> list[ShareRow]:
    """One row a strategy, the best first. A trade that several strategies voted for is shared equally among them.

    The rows' P&L sums exactly to the trades': it is in cents, or in the trades' own last digit where that is finer.
    """
    rows = _shared("strategy", trades, lambda trade: tuple(dict.fromkeys(trade.strategies)) or (UNATTRIBUTED,))
    return sorted(rows, key=lambda row: (-row.pnl_usd, row.name))


def by_regime(trades: Sequence[TradeRow]) -> list[ShareRow]:
    """One row a regime (trend and volatility at the decision to enter) that had a trade, in the enums' order; sums as above."""
    names = [_regime(trend, volatility) for trend, volatility in product(Trend, Volatility)]
    rows = _shared("regime", trades, lambda trade: (_regime(trade.trend, trade.volatility),))
    return sorted(rows, key=lambda row: names.index(row.name))


def by_exit(trades: Sequence[TradeRow]) -> list[ShareRow]:
    """One row for each way a round trip ended, the best first; sums as above."""
    rows = _shared("exit", trades, lambda trade: (trade.closed_by.value,))
    return sorted(rows, key=lambda row: (-row.pnl_usd, row.name))


def in_cents(rows: Sequence[ShareRow]) -> list[ShareRow]:
    """The same rows with P&L in whole cents that add up to the rows' own sum, rounded to the cent."""
    cents = largest_remainder([Fraction(row.pnl_usd) for row in rows], CENT_USD)
    return [row._replace(pnl_usd=pnl_usd) for row, pnl_usd in zip(rows, cents, strict=True)]


def largest_remainder(parts: Sequence[Fraction], quantum: Decimal) -> list[Decimal]:
    """The parts in multiples of `quantum`, each less than one quantum away, whose sum is the parts' sum rounded half to even."""
    scaled = [part / Fraction(quantum) for part in parts]
    floors = [part.__floor__() for part in scaled]
    missing = round(sum(scaled, Fraction(0))) - sum(floors)
    nearest_to_next = sorted(range(len(parts)), key=lambda at: (floors[at] - scaled[at], at))
    raised = set(nearest_to_next[:missing])
    return [(floors[at] + (at in raised)) * quantum for at in range(len(parts))]


def _shared(
    attributed_by: str, trades: Iterable[TradeRow], owners_of: Callable[[TradeRow], tuple[str, ...]]
) -> list[ShareRow]:
    counts: defaultdict[str, Fraction] = defaultdict(Fraction)
    wins: defaultdict[str, Fraction] = defaultdict(Fraction)
    pnl: defaultdict[str, Fraction] = defaultdict(Fraction)
    quantum_usd = CENT_USD
    for trade in trades:
        owners = owners_of(trade)
        quantum_usd = min(quantum_usd, _last_digit(trade.pnl_usd))
        for name in owners:
            counts[name] += Fraction(1, len(owners))
            wins[name] += Fraction(int(trade.pnl_usd > 0), len(owners))
            pnl[name] += Fraction(trade.pnl_usd) / len(owners)
    columns = (
        largest_remainder([counts[name] for name in counts], HUNDREDTH),
        largest_remainder([wins[name] for name in counts], HUNDREDTH),
        largest_remainder([pnl[name] for name in counts], quantum_usd),
    )
    return [ShareRow(attributed_by, *fields) for fields in zip(counts, *columns, strict=True)]


def _last_digit(value: Decimal) -> Decimal:
    exponent = value.normalize().as_tuple().exponent
    return Decimal(1).scaleb(int(exponent))


def _regime(trend: Trend, volatility: Volatility) -> str:
    return f"{trend} trend, {volatility} volatility"
