"""The records of a backtest, collected from the exchange and the desk's journal once it has ended.

Fills, spread and commissions come from the exchange, which paid them; what a round trip was for comes from the desk's own ledger.
Their sums are compared: a difference of one cent is a bug, not a rounding.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import NamedTuple

from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords, ClosedBy, DecisionRow, EquityRow, OrderRow, TradeRow
from closebell.model.books import EquitySnapshot, Trade
from closebell.model.broker import Side
from closebell.model.decision import Denial, ExitRule, TradePlan
from closebell.model.errors import BooksDisagree
from closebell.model.record import Key, Record
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange.venue_account import NINE_PLACES, AccountActivity
from closebell.simulation.exchange.venue_orders import ExchangeOrder

ZERO = Decimal(0)
FEE_CODES = ("FEE", "CFEE")
GROSS_STEP_USD = Decimal("1e-6")
"""The broker shows equity in nine decimals: without costs the rest would come back as tiny losses."""


class _Costs(NamedTuple):
    """What executions have cost (USD). Of the commission `in_coins_usd` was taken in what was bought."""

    spread_usd: Decimal
    commission_usd: Decimal
    in_coins_usd: Decimal

    def with_line(self, line: AccountActivity) -> "_Costs":
        """With one more line of the account's history: an execution or its fee."""
        if line.code not in FEE_CODES:
            return self._replace(spread_usd=self.spread_usd + line.spread_usd)
        in_coins_usd = ZERO
        if line.quantity_shares:
            in_coins_usd = (-line.quantity_shares * (line.price_usd or ZERO)).quantize(NINE_PLACES)
        charged_usd = in_coins_usd - line.amount_usd
        return _Costs(self.spread_usd, self.commission_usd + charged_usd, self.in_coins_usd + in_coins_usd)


NO_COSTS = _Costs(ZERO, ZERO, ZERO)


class _RoundTrip(NamedTuple):
    """What the exchange executed in a symbol from flat to flat."""

    symbol: str
    closed_at: datetime
    costs: _Costs


def collect(desk: BacktestDesk, evidence: KnownEvidence) -> BacktestRecords:
    """The records of a backtest that has ended. Raises BooksDisagree when the ledger's round trips are not the exchange's."""
    orders = [_order_row(order, desk.market) for order in desk.exchange.floor.orders.orders.values()]
    trades = _trade_rows(desk, evidence)
    equity = list(_equity_rows(desk))
    records = BacktestRecords(
        label=desk.market.label,
        strategies=desk.parameters.strategies,
        cash_usd=desk.exchange.options.cash_usd,
        orders=orders,
        trades=trades,
        equity=equity,
        decisions=list(_decision_rows(desk)),
        halts_count=desk.halts_count,
        warnings=(),
        market=desk.day.market,
    )
    _require_equal_sums(records)
    return records


def _decision_rows(desk: BacktestDesk) -> Iterator[DecisionRow]:
    """Every symbol's where the desk kept them, else those that its plans tell of."""
    plans = [record for record in _stored(desk, "PLAN") if isinstance(record, TradePlan)]
    denied = {record.plan_id: record.reason for record in _stored(desk, "DENIAL") if isinstance(record, Denial)}
    held_back = {(plan.decided_session, plan.symbol): denied.get(plan.plan_id, "") for plan in plans}
    if desk.decisions is not None:
        for one in desk.decisions:
            size = one.allocation.quantity_shares if one.allocation else None
            yield DecisionRow(
                one.session, one.symbol, one.outcome, one.reason, one.binding_check, one.vote_score, one.close_usd, size,
                held_back.get((one.session, one.symbol), ""),
            )
        return
    for plan in plans:
        yield DecisionRow(
            plan.decided_session, plan.symbol, plan.action, plan.reason, "", plan.priority_score,
            plan.reference_price_usd, plan.quantity_shares, held_back[plan.decided_session, plan.symbol],
        )  # fmt: skip


def _stored(desk: BacktestDesk, kind: str) -> Iterator[Record]:
    """What the journal has of each traded session, in their order."""
    for session in desk.sessions:
        yield from (item.record for item in desk.journal.query("journal", f"{kind}#{desk.day.market}#{session}"))


def _order_row(order: ExchangeOrder, market: BarMarket) -> OrderRow:
    last = order.seen_session or order.market.date_of(order.updated_at)
    volume_shares = market.mean_volume_shares(order.symbol, last) if order.filled_shares else None
    return OrderRow(
        submitted_at=order.submitted_at,
        session=order.market.date_of(order.submitted_at),
        order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        quantity_shares=order.quantity_shares or ZERO,
        limit_price_usd=order.shown_limit_usd,
        stop_price_usd=order.stop_price_usd,
        status=order.status,
        filled_shares=order.filled_shares,
        filled_price_usd=order.filled_average_price_usd,
        spread_cost_usd=order.spread_paid_usd,
        commission_usd=order.commission_usd,
        volume_share_frac=float(order.filled_shares) / volume_shares if volume_shares else None,
    )


def _trade_rows(desk: BacktestDesk, evidence: KnownEvidence) -> list[TradeRow]:
    costs = {(trip.symbol, trip.closed_at): trip.costs for trip in _round_trips(desk)}
    place = {session: number for number, session in enumerate(desk.sessions)}
    stored = desk.journal.query("journal", f"TRADE#{desk.day.market}")
    trades = [item.record for item in stored if isinstance(item.record, Trade)]
    if len(trades) != len(costs):
        raise BooksDisagree(f"the ledger has {len(trades)} round trips, the exchange executed {len(costs)}")
    rows = []
    for trade in sorted(trades, key=lambda trade: (trade.closed_at, trade.symbol)):
        paid = costs[trade.symbol, trade.closed_at]
        rows.append(_trade_row(desk, evidence, trade, paid, place[trade.closed_session] - place[trade.opened_session]))
    return rows


def _trade_row(
    desk: BacktestDesk, evidence: KnownEvidence, trade: Trade, costs: _Costs, held_sessions: int
) -> TradeRow:
    plan = _plan_of(desk, trade)
    regime = evidence.regimes[plan.decided_session]
    pnl = trade.pnl_usd - (costs.commission_usd - costs.in_coins_usd)  # coins that were not received are missing in what was sold
    at_risk = trade.entry_price_usd * (plan.stop_loss_frac or ZERO) * trade.quantity_shares
    return TradeRow(
        trade_id=trade.trade_id,
        symbol=trade.symbol,
        sector=trade.sector,
        strategies=trade.strategies,
        trend=regime.trend,
        volatility=regime.volatility,
        opened_session=trade.opened_session,
        closed_session=trade.closed_session,
        held_sessions=held_sessions,
        quantity_shares=trade.quantity_shares,
        entry_price_usd=trade.entry_price_usd,
        exit_price_usd=trade.exit_price_usd,
        gross_pnl_usd=trade.pnl_usd + costs.in_coins_usd + costs.spread_usd,
        spread_cost_usd=costs.spread_usd,
        commission_usd=costs.commission_usd,
        pnl_usd=pnl,
        return_frac=pnl / (trade.entry_price_usd * trade.quantity_shares),
        r_multiple_ratio=pnl / at_risk if at_risk else None,
        closed_by=_closed_by(desk, trade),
        entry_reason=plan.reason,
    )


def _plan_of(desk: BacktestDesk, trade: Trade) -> TradePlan:
    """The plan that opened a trade: of the session that it was opened in, or of one before whose order has rested until then."""
    plan_id = trade.trade_id.split("@")[0]
    for session in reversed(desk.sessions[: bisect_right(desk.sessions, trade.opened_session)]):
        stored = desk.journal.read(Key("journal", f"PLAN#{trade.market}#{session}", plan_id), TradePlan)
        if stored is not None:
            return stored.record
    raise BooksDisagree(f"no plan explains the trade {trade.trade_id}")


def _closed_by(desk: BacktestDesk, trade: Trade) -> ClosedBy:
    if trade.exit_rule is not ExitRule.MANUAL:
        return ClosedBy(trade.exit_rule)
    is_delisted = (trade.symbol, trade.closed_session) in desk.delisted
    return ClosedBy.DELISTED if is_delisted else ClosedBy.END


def _round_trips(desk: BacktestDesk) -> Iterator[_RoundTrip]:
    """Each symbol's executions, each with its own costs, cut wherever nothing is held."""
    by_symbol: defaultdict[str, list[AccountActivity]] = defaultdict(list)
    for activity in desk.exchange.floor.book.activities:
        if activity.symbol is not None:
            by_symbol[activity.symbol].append(activity)
    for symbol, activities in by_symbol.items():
        held, costs = ZERO, NO_COSTS
        for activity, following in zip_longest(activities, activities[1:]):
            held += _change_shares(activity)
            costs = costs.with_line(activity)
            is_charged_next = following is not None and following.code in FEE_CODES and following.order_id == activity.order_id
            if activity.code in ("FILL", *FEE_CODES) and not held and not is_charged_next:
                yield _RoundTrip(symbol, activity.at, costs)
                costs = NO_COSTS


def _change_shares(line: AccountActivity) -> Decimal:
    """By how much a line of the account's history changes what is held: a split and a fee carry their sign, a sale does not."""
    return -line.quantity_shares if line.side is Side.SELL else line.quantity_shares


def _equity_rows(desk: BacktestDesk) -> Iterator[EquityRow]:
    """One row a reviewed session; the last is the account after everything was sold."""
    costs = _costs_by_session(desk)
    stored = desk.journal.query("journal", f"EQUITY#{desk.day.market}")
    snapshots = [item.record for item in stored if isinstance(item.record, EquitySnapshot)]
    paid = peak = ZERO
    for snapshot in snapshots:
        is_last = snapshot is snapshots[-1]
        equity = desk.exchange.equity_usd() if is_last else snapshot.equity_usd
        positions_usd = ZERO if is_last else snapshot.positions_value_usd
        paid += costs.get(snapshot.session, ZERO)
        peak = max(peak, equity, desk.exchange.options.cash_usd)
        yield EquityRow(
            session=snapshot.session,
            equity_usd=equity,
            gross_equity_usd=(equity + paid).quantize(GROSS_STEP_USD),
            cash_usd=equity - positions_usd,
            positions_usd=positions_usd,
            positions_count=0 if is_last else snapshot.open_positions_count,
            drawdown_frac=(peak - equity) / peak,
            exposure_frac=positions_usd / equity if equity else ZERO,
        )


def _costs_by_session(desk: BacktestDesk) -> dict[date, Decimal]:
    """What executions cost in spread and commission, by their session."""
    costs: defaultdict[date, Decimal] = defaultdict(Decimal)
    for line in desk.exchange.floor.book.activities:
        paid = NO_COSTS.with_line(line)
        costs[line.day] += paid.spread_usd + paid.commission_usd
    return dict(costs)


def _require_equal_sums(records: BacktestRecords) -> None:
    """The round trips explain the account: everything is closed at the end."""
    earned = sum((trade.pnl_usd for trade in records.trades), ZERO)
    ended = records.equity[-1].equity_usd if records.equity else records.cash_usd
    if abs(earned - (ended - records.cash_usd)) > Decimal("0.01"):
        raise BooksDisagree(f"the round trips earned {earned:.2f} USD, the account {ended - records.cash_usd:.2f} USD")
