"""What a reader of results must know of how the desk fared: entries held back, positions without a stop, cash below zero."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from closebell.backtest.engine import BacktestDesk
from closebell.backtest.records import EquityRow
from closebell.model.decision import Denial, PlanAction, TradePlan
from closebell.reports.formatting import counted, usd

HELD_BACK_FRAC_MIN = Decimal("0.1")
"""The share of planned entries from which it is told that they were held back; a few are every desk's."""
_SYMBOLS_SHOWN_MAX = 5


def plans_of(desk: BacktestDesk) -> list[TradePlan]:
    """What a desk has planned, in the order of its sessions."""
    stored = (item.record for day in desk.sessions for item in desk.journal.query("journal", f"PLAN#{desk.day.market}#{day}"))
    return [plan for plan in stored if isinstance(plan, TradePlan)]


def held_back_of(desk: BacktestDesk) -> dict[str, str]:
    """The plans that were not sent in the morning, by their ids, and why."""
    stored = (item.record for day in desk.sessions for item in desk.journal.query("journal", f"DENIAL#{desk.day.market}#{day}"))
    return {one.plan_id: one.reason for one in stored if isinstance(one, Denial)}


def desk_notes(desk: BacktestDesk, equity: Sequence[EquityRow]) -> tuple[str, ...]:
    """Sentences about a backtest that has ended."""
    return (*_held_back(desk), *_unprotected(desk), *_overdrawn(equity))


def _held_back(desk: BacktestDesk) -> Iterator[str]:
    """Else a desk that decides to buy every evening and never does would look as one that has found nothing."""
    planned_count = sum(plan.action is PlanAction.ENTER for plan in plans_of(desk))
    whys = Counter(reason.partition(":")[0] for reason in held_back_of(desk).values())
    if whys and whys.total() >= HELD_BACK_FRAC_MIN * planned_count:
        named = ", ".join(f"{why} {count}" for why, count in whys.most_common())
        yield f"{whys.total()} of {planned_count} planned entries were held back in the morning: {named}"


def _unprotected(desk: BacktestDesk) -> Iterator[str]:
    """Positions of which the owner would have been told that no stop of theirs rests."""
    alerts = [alert for alert in desk.alerts.alerts if alert.alert_id.startswith("unprotected-")]
    if alerts:
        symbols = sorted({alert.alert_id.split("-", 4)[4] for alert in alerts})  # unprotected-2020-03-16-AAPL
        others = f" and {len(symbols) - _SYMBOLS_SHOWN_MAX} more" if len(symbols) > _SYMBOLS_SHOWN_MAX else ""
        named = ", ".join(symbols[:_SYMBOLS_SHOWN_MAX]) + others
        yield f"{named}: held without a stop at times, of which the owner is alerted; the first alert: {alerts[0].body}"


def _overdrawn(equity: Sequence[EquityRow]) -> Iterator[str]:
    overdrawn = [row.cash_usd for row in equity if row.cash_usd < 0]
    if overdrawn:
        yield (
            f"cash was below zero after {counted(len(overdrawn), 'session')}, by {usd(-min(overdrawn))} at most: what is bought "
            "at the open may open above what it was sized at, and commissions are not kept aside; no interest is charged"
        )
