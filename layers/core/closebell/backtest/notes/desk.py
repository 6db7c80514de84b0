"""What a reader of results must know of how the desk fared: entries held back, positions without a stop, cash below zero."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from closebell.backtest.records import BacktestRecords, DecisionRow, EquityRow
from closebell.model.decision import PlanAction
from closebell.model.operations import Alert
from closebell.reports.formatting import counted, usd

HELD_BACK_FRAC_MIN = Decimal("0.1")
"""The share of planned entries from which it is told that they were held back; a few are every desk's."""
_SYMBOLS_SHOWN_MAX = 5


def desk_notes(records: BacktestRecords, alerts: Sequence[Alert]) -> tuple[str, ...]:
    """Sentences about a backtest that has ended, and of which the owner would have been told so much."""
    return (*_held_back(records.decisions), *_unprotected(alerts), *_overdrawn(records.equity))


def _held_back(decisions: Sequence[DecisionRow]) -> Iterator[str]:
    """Else a desk that decides to buy every evening and never does would look as one that has found nothing."""
    entries = [row for row in decisions if row.outcome == PlanAction.ENTER]
    whys = Counter(row.held_back.partition(":")[0] for row in entries if row.held_back)
    if whys and whys.total() >= HELD_BACK_FRAC_MIN * len(entries):
        named = ", ".join(f"{why} {count}" for why, count in whys.most_common())
        yield f"{whys.total()} of {len(entries)} planned entries were held back in the morning: {named}"


def _unprotected(alerts: Sequence[Alert]) -> Iterator[str]:
    """Positions of which no stop was known to rest."""
    told = [alert for alert in alerts if alert.alert_id.startswith("unprotected-")]
    if told:
        symbols = sorted({alert.alert_id.split("-", 4)[4] for alert in told})  # unprotected-2020-03-16-AAPL
        others = f" and {len(symbols) - _SYMBOLS_SHOWN_MAX} more" if len(symbols) > _SYMBOLS_SHOWN_MAX else ""
        named = ", ".join(symbols[:_SYMBOLS_SHOWN_MAX]) + others
        yield f"{named}: held without a stop at times, of which the owner is alerted; the first alert: {told[0].body}"


def _overdrawn(equity: Sequence[EquityRow]) -> Iterator[str]:
    overdrawn = [row.cash_usd for row in equity if row.cash_usd < 0]
    if overdrawn:
        yield (
            f"cash was below zero after {counted(len(overdrawn), 'session')}, by {usd(-min(overdrawn))} at most: what is bought "
            "at the open may open above what it was sized at, and commissions are not kept aside; no interest is charged"
        )
