"""Why a symbol was or was not traded, in plain lines for a terminal."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from operator import attrgetter

from closebell.decision.plans import plan_id
from closebell.model.decision import CheckResult, Decision, Outcome, PlanAction
from closebell.model.decision_document import DecisionDocument, PlacedPlans
from closebell.model.orders import OrderLeg, OrderRecord, OrderState


def explain_decision(document: DecisionDocument, symbol: str, placed: PlacedPlans | None = None) -> str:
    """The decision for one symbol of a session: regime, votes, every check with its number and limit, size, outcome, and what
    became of its plan where that is known.

    Raises KeyError when the session did not consider the symbol.
    """
    found = next((decision for decision in document.decisions if decision.symbol == symbol), None)
    if found is None:
        raise KeyError(symbol)
    return "\n".join(_lines(document, found, placed)) + "\n"


def _lines(document: DecisionDocument, decision: Decision, placed: PlacedPlans | None) -> Iterator[str]:
    close = f", close ${decision.close_usd:,.2f}" if decision.close_usd is not None else ""
    yield f"{decision.symbol} ({decision.sector}) after {decision.session}{close}"
    yield f"  {decision.outcome.replace('_', ' ').upper()}: {decision.reason}"
    regime = decision.regime
    level = (
        f" ({regime.volatility_source} {regime.volatility_index_score:.1f})" if regime.volatility_index_score is not None else ""
    )
    yield f"  regime     {regime.trend} market, {regime.volatility} volatility{level}"
    for vote in decision.votes:
        yield f"  vote       {vote.strategy:<16}{vote.stance:<9}{vote.conviction_score:+.2f}"
    if decision.votes:
        yield f"  ensemble   {decision.stance:<9}{decision.vote_score:+.2f}"
    yield from _check_lines(decision.checks, decision.binding_check)
    size = decision.allocation
    if size is not None:
        yield (
            f"  size       {size.quantity_shares:f} for ${size.notional_usd:,.2f}, {size.weight_frac:.1%} of equity, "
            f"${size.risk_usd:,.2f} at risk; bounded by {size.binding}"
        )
    if placed is not None and decision.outcome in _ACTIONS:
        yield from _placed_lines(decision, placed)
    yield f"  inputs     {document.input_sha256[:12]}, version {document.code_version}, bars in {document.bars_archive}"
    for note in document.notes:
        yield f"  note       {note}"


_ACTIONS = {Outcome.ENTER: PlanAction.ENTER, Outcome.EXIT: PlanAction.EXIT}


def _placed_lines(decision: Decision, placed: PlacedPlans) -> Iterator[str]:
    """What became of a decision's plan: denied, and by which numbers, or what the broker made of its orders."""
    planned = plan_id(decision.market, placed.session, decision.symbol, _ACTIONS[decision.outcome])
    denials = [denial for denial in placed.denials if denial.plan_id == planned]
    # The orders that protect a position are of its plan too.
    orders = [order for order in placed.orders if order.plan_id == planned and order.leg is not OrderLeg.PROTECT]
    for denial in denials:
        yield f"  at the open of {placed.session}: DENIED, {denial.reason}"
        yield from _check_lines(denial.checks, "")
    for order in sorted(orders, key=attrgetter("attempt_count")):
        yield f"  in the session of {placed.session}: {_ended(order)}"
    if not denials and not orders:
        yield f"  in the session of {placed.session}: NOT PLACED so far, neither sent nor denied"


def _ended(order: OrderRecord) -> str:
    """What an order has come to, with the broker's words where it has some."""
    note = f", {order.note}" if order.note else ""
    if order.state is OrderState.REJECTED:
        return f"REFUSED BY THE BROKER{note}"
    filled, price_usd = order.filled_quantity_shares, order.filled_average_price_usd
    at = f" at ${price_usd:,.2f}" if price_usd is not None else ""
    if order.state is OrderState.FILLED:
        return f"FILLED, {filled:f}{at}"
    some = f", {filled:f} of {order.quantity_shares:f} filled{at}" if filled else ", nothing filled"
    return f"{order.state.replace('_', ' ').upper()}{some}{note}"


def _check_lines(checks: Iterable[CheckResult], binding: str) -> Iterator[str]:
    for check in checks:
        mark = "ok  " if check.passed else "FAIL"
        ends = "  <- binding" if check.check == binding and not check.passed else ""
        note = f"  ({check.note})" if check.note else ""
        measured = "-" if check.measured is None else _number(check.measured)
        yield f"  check {mark} {check.check:<22}{measured:>14} limit {_number(check.limit):>12} {check.unit}{note}{ends}"


def _number(value: Decimal) -> str:
    """Up to four decimals, without the zeros that say nothing."""
    text = f"{value:,.4f}".rstrip("0").rstrip(".")
    return text or "0"
