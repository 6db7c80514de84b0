"""The trials of a validation: the configuration, each strategy alone, other counts of votes, other stops and targets."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from closebell import strategies as registry
from closebell.backtest.bias.strategy_module import strategy_text
from closebell.backtest.desk.collected import collect
from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.records import TradeRow
from closebell.backtest.run import Costs, voted_by
from closebell.backtest.summary import Floats, returns_of, summary_of
from closebell.backtest.validation.folder import bars_sha256, configuration_sha256
from closebell.backtest.validation.splits import SessionSpan
from closebell.model.parameters import ExitTerms, ParameterSet
from closebell.simulation.bar_market import BarMarket

AS_CONFIGURED = "as configured"
_FACTORS = {1: ("1",), 3: ("0.5", "1", "2"), 5: ("0.5", "0.75", "1", "1.5", "2")}
GRID_COUNTS = tuple(_FACTORS)
"""How many values of the stop, and of the target, the sensitivity can be looked at."""


class TrialTerms(NamedTuple):
    """Where trials are run: the market with its spread, the costs, and the cash at the start."""

    market: BarMarket
    costs: Costs
    cash_usd: Decimal


class TrialResult(NamedTuple):
    """What one trial earned: one return a session, `summary_of` its records, and its round trips."""

    name: str
    parameters: ParameterSet
    returns: Floats
    summary: dict[str, Any]
    trades: Sequence[TradeRow]

    @property
    def trades_pnl_usd(self) -> Floats:
        """What each round trip earned after costs."""
        return np.array([float(trade.pnl_usd) for trade in self.trades])


def strategies_alone(parameters: ParameterSet) -> dict[str, ParameterSet]:
    """Each strategy by its own vote; nothing when there is only one."""
    if len(parameters.strategies) == 1:
        return {}
    return {name: voted_by(parameters, (name,)) for name in parameters.strategies}


def other_votes(parameters: ParameterSet) -> dict[str, ParameterSet]:
    """Every other count of votes that an entry can ask for."""
    counts = range(1, len(parameters.strategies) + 1)
    return {
        f"{count} of {len(counts)} votes": parameters.model_copy(update={"votes_to_act_count_min": count})
        for count in counts if count != parameters.votes_to_act_count_min
    }


def exit_grid(parameters: ParameterSet, count: int) -> list[list[ParameterSet]]:
    """Stops (rows) x targets (columns), from half to double the configured ones; what would be all of a price is cut to 0.95."""

    def scaled(frac: Decimal) -> list[Decimal]:
        return sorted({min(frac * Decimal(factor), max(frac, Decimal("0.95"))) for factor in _FACTORS[count]})

    return [
        [_with_exits(parameters, stop, target) for target in scaled(parameters.exits.take_profit_frac)]
        for stop in scaled(parameters.exits.stop_loss_frac)
    ]


def exit_name(exits: ExitTerms) -> str:
    """A stop and a target in words."""
    stop, target = (f"{(frac * 100).normalize():f} %" for frac in (exits.stop_loss_frac, exits.take_profit_frac))
    return f"stop {stop} target {target}"


def all_trials(parameters: ParameterSet, grid: list[list[ParameterSet]]) -> dict[str, ParameterSet]:
    """Every different configuration to try, by its name; the given one first."""
    named = {AS_CONFIGURED: parameters, **strategies_alone(parameters), **other_votes(parameters)}
    tried = {configuration_sha256(known) for known in named.values()}
    return named | {
        exit_name(point.exits): point for row in grid for point in row if configuration_sha256(point) not in tried
    }


def run_trial(
    name: str, terms: TrialTerms, parameters: ParameterSet, span: SessionSpan, evidence: KnownEvidence | None = None
) -> TrialResult:
    """Trade a span. Raises as `run_backtest`."""
    known = evidence or KnownEvidence(terms.market, parameters)
    desk = BacktestDesk(terms.market, parameters, known, terms.costs.options(terms.cash_usd))
    desk.play(span.first, span.last)
    records = collect(desk, known)
    equity = np.array([float(terms.cash_usd), *(float(row.equity_usd) for row in records.equity)])
    return TrialResult(name, parameters, returns_of(equity), summary_of(records), records.trades)


def trial_sha256(terms: TrialTerms, trial: TrialResult, span: SessionSpan) -> str:
    """What makes a trial the same trial: its bars, span, configuration, costs and cash, and what it earned."""
    parts = (bars_sha256(terms.market.panel, span), span, configuration_sha256(trial.parameters), terms.costs, terms.cash_usd)
    return hashlib.sha256("|".join(map(str, parts)).encode() + trial.returns.tobytes()).hexdigest()


def judged_sha256(terms: TrialTerms, parameters: ParameterSet) -> str:
    """What a holdout is opened for: the configuration, the texts of its strategies, the costs and the cash.

    The strategies are registered; one that was made by hand, and is no module, is known by its name alone.
    """
    amounts = (*astuple(terms.costs), terms.cash_usd)
    found = {name: strategy_text(registry.STRATEGIES[name]) for name in parameters.strategies}
    texts = [module.text if module else name for name, module in found.items()]
    parts = (configuration_sha256(parameters), *(f"{amount.normalize()}" for amount in amounts), *texts)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _with_exits(parameters: ParameterSet, stop: Decimal, target: Decimal) -> ParameterSet:
    exits = parameters.exits.model_copy(update={"stop_loss_frac": stop, "take_profit_frac": target})
    return parameters.model_copy(update={"exits": exits})

