"""The last look before an order is sent: the same checks on fresh truth, with a quote."""

from decimal import ROUND_UP, Decimal

from closebell.decision import risk
from closebell.decision.desk_view import DeskView
from closebell.decision.exposure import exposure_of
from closebell.decision.plans import commitment_price_usd
from closebell.decision.risk import Candidate, EntryCase
from closebell.model.broker import Quote
from closebell.model.decision import CheckResult, PlanAction, TradePlan
from closebell.model.parameters import ParameterSet

_CENT = Decimal("0.01")


def recheck(plan: TradePlan, desk: DeskView, parameters: ParameterSet, quote: Quote | None) -> tuple[CheckResult, ...]:
    """Every check of `forbids_sending` with its number and its limit; none for an exit."""
    case = _case(plan, desk, parameters, quote)
    return () if case is None else risk.evaluate(case, risk.PLACING_CHECKS)


def forbids_sending(plan: TradePlan, desk: DeskView, parameters: ParameterSet, quote: Quote | None) -> CheckResult | None:
    """The check that forbids sending a plan; None when it may still be sent.

    An entry passes the checks of its planning again, at the ask, and the quote must lie within the collar of its reference
    price; the volume and the universe's coverage were judged then. An exit passes none: no halt and no limit keeps us in a
    position. Only for plans that have no order yet: with its order out, a plan's own symbol is taken.
    """
    case = _case(plan, desk, parameters, quote)
    return None if case is None else risk.first_failed(case, risk.PLACING_CHECKS)


def _case(plan: TradePlan, desk: DeskView, parameters: ParameterSet, quote: Quote | None) -> EntryCase | None:
    if plan.action is PlanAction.EXIT:
        return None
    candidate = Candidate(
        symbol=plan.symbol, sector=plan.sector, market=plan.market, reference_price_usd=plan.reference_price_usd,
        commitment_price_usd=_commitment_price_usd(plan, parameters, quote),
        stop_loss_frac=plan.stop_loss_frac or parameters.exits.stop_loss_frac, average_volume_shares=None,
    )
    return EntryCase(candidate, plan.quantity_shares, "", desk, exposure_of(desk), parameters.limits, quote=quote)


def reservation_usd(plan: TradePlan, parameters: ParameterSet) -> Decimal:
    """What an entry's intent reserves, rounded up to the cent: its shares at the worst price that it may pay. An exit: zero."""
    if plan.action is PlanAction.EXIT:
        return Decimal(0)
    price = commitment_price_usd(plan.reference_price_usd, plan.limit_price_usd, parameters)
    return (plan.quantity_shares * price).quantize(_CENT, ROUND_UP)


def _commitment_price_usd(plan: TradePlan, parameters: ParameterSet, quote: Quote | None) -> Decimal:
    if plan.limit_price_usd is not None or quote is None:
        return commitment_price_usd(plan.reference_price_usd, plan.limit_price_usd, parameters)
    return max(quote.ask_usd, plan.reference_price_usd)
