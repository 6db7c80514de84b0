"""The demo in numbers: one line a session and the summary. The desk's own records say what it decided, the broker what it did."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from closebell.app.explain import find_placed
from closebell.model.books import Break, EquitySnapshot, Fill, Position, Trade
from closebell.model.decision import Denial, PlanAction, PlanSet, TradePlan
from closebell.model.decision_document import PlacedPlans
from closebell.model.instruments import Market
from closebell.model.operations import MailRecord, MailState
from closebell.model.orders import OrderRecord, OrderState
from closebell.model.record import Key, Record
from closebell.ports.journal import Journal, R, Stored
from infra.local.broker_view import duplicates_count
from infra.local.demo_memory import Memory
from infra.local.exchange_process import DemoBroker


class SessionLine(NamedTuple):
    """What one session came to, all markets together; `equity_usd` is None when the session was not reviewed."""

    session: date
    plans: int
    orders: int
    fills: int
    positions: int
    equity_usd: Decimal | None
    breaks: int


class Summary(NamedTuple):
    """The demo so far, over every run since the last reset; only `wall_s` is the last run's alone.

    Orders, fills, open positions, duplicates and the equity at the end are the broker's; the rest is the desk's.
    """

    sessions: int
    decisions: int
    plans: int
    orders: int
    fills: int
    open_positions: int
    equity_usd_start: float
    equity_usd_end: float
    breaks: int
    duplicate_orders: int
    newsletters: int
    errors: int
    wall_s: float


class DeskRecords:
    """Reads the desk's journal session by session."""

    def __init__(self, journal: Journal, markets: Sequence[Market]) -> None:
        self._journal = journal
        self._markets = markets

    def line(self, days: Sequence[date]) -> SessionLine:
        """The line of a session: the last of `days`, which are the dates since the one before (crypto trades on all of them)."""
        session = days[-1]
        equity = self._equity(session)
        return SessionLine(
            session=session,
            plans=sum(len(self._of_day(TradePlan, "PLAN", day)) for day in days),
            orders=sum(order.sent_count > 0 for day in days for order in self._of_day(OrderRecord, "ORDER", day)),
            fills=sum(len(self.fills(day)) for day in days),
            positions=_count(self._journal.query("book", "DESK", "POSITION#"), Position),
            equity_usd=equity.equity_usd if equity else None,
            breaks=sum(_count(self._journal.query("journal", f"BREAK#{day}"), Break) for day in days),
        )

    def entries(self, session: date) -> list[str]:
        """The symbols that the session's plans want to buy, the most wanted first."""
        plans = [plan for plan in self._of_day(TradePlan, "PLAN", session) if plan.action is PlanAction.ENTER]
        return [plan.symbol for plan in sorted(plans, key=lambda plan: (-plan.priority_score, plan.symbol))]

    def happenings(self, days: Sequence[date]) -> list[str]:
        """What a line's numbers do not say: positions closed and by which rule, orders that the broker or a check refused."""
        closed = [
            f"{trade.symbol} {trade.exit_rule.replace('_', ' ')} {trade.pnl_usd:+,.2f} USD"
            for trade in self._of_markets(Trade, "TRADE") if trade.closed_session in days
        ]
        orders = [order for day in days for order in self._of_day(OrderRecord, "ORDER", day)]
        refused = [f"{order.symbol}: {order.note}" for order in orders if order.state is OrderState.REJECTED]
        refused += [f"{denial.symbol}: {denial.reason}" for day in days for denial in self._of_day(Denial, "DENIAL", day)]
        told = {"closed": closed, "refused": refused}
        return [f"{name}: {', '.join(facts)}" for name, facts in told.items() if facts]

    def fills(self, session: date) -> list[Fill]:
        """Our ledger's executions of a session."""
        return self._of_day(Fill, "FILL", session)

    def plan_sets(self) -> list[PlanSet]:
        """The header of every set of decisions so far, oldest first."""
        return sorted(self._of_markets(PlanSet, "PLANSET"), key=lambda plan_set: plan_set.as_of)

    def placed(self, plan_set: PlanSet) -> PlacedPlans:
        """What has become of a set's plans."""
        return find_placed(self._journal, plan_set.market, plan_set.session)

    def mails(self) -> list[MailRecord]:
        """Every newsletter that was sent, oldest first."""
        sent = [mail for mail in self._of_markets(MailRecord, "MAIL") if mail.state is MailState.SENT]
        return sorted(sent, key=lambda mail: mail.recorded_at)

    def _equity(self, session: date) -> EquitySnapshot | None:
        stored = self._journal.read(Key("journal", f"EQUITY#{Market.US_EQUITY}", f"{session}"), EquitySnapshot)
        return stored.record if stored else None

    def _of_day(self, record_type: type[R], prefix: str, day: date) -> list[R]:
        return self._of_markets(record_type, prefix, f"#{day}")

    def _of_markets(self, record_type: type[R], prefix: str, suffix: str = "") -> list[R]:
        stored = [found for market in self._markets for found in self._journal.query("journal", f"{prefix}#{market}{suffix}")]
        return [found.record for found in stored if isinstance(found.record, record_type)]


def _count(stored: Sequence[Stored[Record]], record_type: type[Record]) -> int:
    return sum(isinstance(found.record, record_type) for found in stored)


def summarise(
    records: DeskRecords, broker: DemoBroker, lines: Sequence[SessionLine], memory: Memory, wall_s: float
) -> Summary:
    """Add up what the desk recorded and ask the broker for the rest."""
    orders: list[Mapping[str, Any]] = broker.orders()
    plan_sets = records.plan_sets()
    return Summary(
        sessions=len(lines),
        decisions=sum(plan_set.decisions_count for plan_set in plan_sets),
        plans=sum(len(plan_set.plan_ids) for plan_set in plan_sets),
        orders=len(orders),
        fills=len(broker.view.fills()),
        open_positions=len(broker.view.positions()),
        equity_usd_start=float(memory.equity_usd_start),
        equity_usd_end=float(broker.view.equity_usd()),
        breaks=sum(line.breaks for line in lines),
        duplicate_orders=duplicates_count(orders),
        newsletters=len(records.mails()),
        errors=memory.errors_count,
        wall_s=round(wall_s, 1),
    )
