"""From a decision to the plan for an order: identity, method, prices and terms."""

from datetime import date
from decimal import Decimal

from closebell.decision.money import limit_price_usd
from closebell.decision.risk import Candidate
from closebell.model.books import Position
from closebell.model.decision import Allocation, EntryMethod, ExitRule, PlanAction, TradePlan
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet


def plan_id(market: Market, session: date, symbol: str, action: PlanAction) -> str:
    """The same for the same market, session, symbol and action: `us_equity-2018-10-02-AAPL-enter`."""
    return f"{market}-{session}-{symbol.replace('/', '-')}-{action}"


def entry_limit_usd(close_usd: Decimal, market: Market, parameters: ParameterSet) -> Decimal | None:
    """The limit price of an entry decided at `close_usd`; None when entries are market orders."""
    if not parameters.entries.use_limit:
        return None
    return limit_price_usd(close_usd * (1 + parameters.entries.limit_offset_frac), market)


def commitment_price_usd(reference_price_usd: Decimal, limit_usd: Decimal | None, parameters: ParameterSet) -> Decimal:
    """What a share counts for against the limits until it is filled: the limit price, or the far end of the collar."""
    return limit_usd if limit_usd is not None else reference_price_usd * (1 + parameters.limits.price_collar_frac)


def entry_plan(
    candidate: Candidate, allocation: Allocation, parameters: ParameterSet, *,
    session: date, decided_session: date, score: float, strategies: tuple[str, ...], reason: str,
) -> TradePlan:
    """The plan to buy what was allocated."""
    limit_usd = entry_limit_usd(candidate.reference_price_usd, candidate.market, parameters)
    return TradePlan(
        plan_id=plan_id(candidate.market, session, candidate.symbol, PlanAction.ENTER), market=candidate.market, session=session,
        decided_session=decided_session, symbol=candidate.symbol, sector=candidate.sector, action=PlanAction.ENTER,
        method=_market_method(candidate.market) if limit_usd is None else EntryMethod.LIMIT,
        quantity_shares=allocation.quantity_shares, reference_price_usd=candidate.reference_price_usd, limit_price_usd=limit_usd,
        stop_loss_frac=parameters.exits.stop_loss_frac, take_profit_frac=parameters.exits.take_profit_frac,
        time_stop_sessions=parameters.exits.time_stop_sessions, minimum_hold_sessions=parameters.exits.minimum_hold_sessions,
        priority_score=score, strategies=strategies, reason=reason,
    )


def exit_plan(
    position: Position, quantity_shares: Decimal, reference_price_usd: Decimal, *,
    session: date, decided_session: date, rule: ExitRule, reason: str,
) -> TradePlan:
    """The plan to sell a position of ours."""
    return TradePlan(
        plan_id=plan_id(position.market, session, position.symbol, PlanAction.EXIT), market=position.market, session=session,
        decided_session=decided_session, symbol=position.symbol, sector=position.sector, action=PlanAction.EXIT,
        method=_market_method(position.market), quantity_shares=quantity_shares, reference_price_usd=reference_price_usd,
        strategies=position.strategies, exit_rule=rule, reason=reason,
    )


def _market_method(market: Market) -> EntryMethod:
    return EntryMethod.MARKET_ON_OPEN if market is Market.US_EQUITY else EntryMethod.MARKET
