"""Why a symbol was or was not traded, in plain lines for a terminal."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from closebell.model.decision import CheckResult, Decision, Denial
from closebell.model.decision_document import DecisionDocument


def explain_decision(document: DecisionDocument, symbol: str, denial: Denial | None = None) -> str:
    """The decision for one symbol of a session: regime, votes, every check with its number and limit, size, outcome.

    Raises KeyError when the session did not consider the symbol.
    """
    found = next((decision for decision in document.decisions if decision.symbol == symbol), None)
    if found is None:
        raise KeyError(symbol)
    return "\n".join(_lines(document, found, denial)) + "\n"


def _lines(document: DecisionDocument, decision: Decision, denial: Denial | None) -> Iterator[str]:
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
    if denial is not None:
        yield f"  at the open of {document.next_session}: DENIED, {denial.reason}"
        yield from _check_lines(denial.checks, "")
    yield f"  inputs     {document.input_sha256[:12]}, version {document.code_version}, bars in {document.bars_archive}"
    for note in document.notes:
        yield f"  note       {note}"


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
