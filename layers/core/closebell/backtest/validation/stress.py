"""What a configuration earns when costs double, fills come late, bars are missing, and when markets crash."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.run import COMMISSION_USD_MAX, SLIPPAGE_BPS_MAX, Costs
from closebell.backtest.summary import Floats
from closebell.backtest.validation.splits import SessionSpan
from closebell.backtest.validation.statistics import deepest_drawdown_frac, total_return_frac
from closebell.backtest.validation.trials import TrialResult, TrialTerms, run_trial
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel, Matrix
from closebell.model.parameters import ParameterSet
from closebell.simulation.exchange.trading_floor import TAKER_FEE_FRAC

MISSING_FRAC = 0.02
GAP_SESSIONS = {Market.US_EQUITY: 20, Market.CRYPTO: 30}
"""Bars go missing for a month at a time: the desk trades no symbol with a hole in what its strategies look at, and single
bars, were they 2 % of all, would leave it none."""

DOUBLED, DELAYED, HOLED = "doubled costs", "fills one session later", f"{MISSING_FRAC:.0%} of bars missing"
STRESSES = (DOUBLED, DELAYED, HOLED)
CRASHES = {
    "2008": SessionSpan(date(2008, 9, 2), date(2009, 3, 9)),
    "flash crash 2010": SessionSpan(date(2010, 5, 3), date(2010, 6, 7)),
    "2020": SessionSpan(date(2020, 2, 20), date(2020, 4, 7)),
}
"""Lehman's autumn to the low; the crash of 6 May and the month after; the pandemic's fall and the first weeks after its low."""


class CrashResult(NamedTuple):
    """What the account did in a crash, as a part of its longer history."""

    name: str
    span: SessionSpan
    return_frac: float
    drawdown_frac_max: float


class DelayedEvidence(KnownEvidence):
    """Scores arrive one session late: what a session decided is traded at the open after the next one."""

    def _scored(self, universe: BarPanel) -> Mapping[str, Matrix]:
        return {name: _one_later(scores) for name, scores in super()._scored(universe).items()}


def stressed(name: str, terms: TrialTerms, parameters: ParameterSet, span: SessionSpan, seed: int) -> TrialResult:
    """The configuration under one of `STRESSES`."""
    market, traded, evidence = terms.market, terms.market.asset_class, None
    if name == DOUBLED:
        dear = doubled(terms.costs, traded)
        terms = TrialTerms(market.altered(spread_frac=dear.spread_frac), dear, terms.cash_usd)
    elif name == DELAYED:
        evidence = DelayedEvidence(market, parameters)
    else:
        unknown = missing_bars(market.panel, parameters.regime_symbol_of(traded), seed, GAP_SESSIONS[traded])
        terms = terms._replace(market=market.altered(unknown=unknown))
    return run_trial(name, terms, parameters, span, evidence)


def missing_bars(panel: BarPanel, regime_symbol: str, seed: int, gap_sessions: int) -> NDArray[np.bool_]:
    """Sessions x symbols: which bars go missing, a gap at a time; the regime's symbol keeps its own, as do the last ones."""
    generator = np.random.default_rng(seed)
    unknown = np.zeros(panel.close.shape, dtype=bool)
    columns = [column for column, symbol in enumerate(panel.symbols) if symbol != regime_symbol] or [0]
    latest = max(len(panel.sessions) - 2 * gap_sessions, 1)
    for _ in range(max(round(panel.close.size * MISSING_FRAC / gap_sessions), 1)):
        first = int(generator.integers(latest))
        unknown[first : first + gap_sessions, columns[int(generator.integers(len(columns)))]] = True
    return unknown


def crashes(returns: Floats, days: Sequence[date]) -> list[CrashResult]:
    """The crashes that the sessions cover from beginning to end."""
    found = []
    for name, span in CRASHES.items():
        inside = np.array([span.first <= day <= span.last for day in days])
        if days[0] <= span.first and days[-1] >= span.last:
            part = returns[inside]
            found.append(CrashResult(name, span, total_return_frac(part), deepest_drawdown_frac(part)))
    return found


def doubled(costs: Costs, market: Market) -> Costs:
    """Twice the costs; of crypto the broker's fee, which nothing changes, is paid once more as slippage.

    Raises ConfigurationError when the slippage or a commission would be more than any can be.
    """
    fee_bps = TAKER_FEE_FRAC * 10_000 if market is Market.CRYPTO else 0
    slippage_bps = 2 * costs.slippage_bps + fee_bps
    if slippage_bps > SLIPPAGE_BPS_MAX:
        most_bps = (Decimal(SLIPPAGE_BPS_MAX) - fee_bps).normalize() / 2
        raise ConfigurationError(f"slippage_bps is {costs.slippage_bps}: a validation doubles the costs, so at most {most_bps:f}")
    dearest_usd, most_usd = max(costs.commissions_usd), COMMISSION_USD_MAX // 2
    if dearest_usd > most_usd:
        raise ConfigurationError(f"a commission is {dearest_usd:f} USD: a validation doubles the costs, so at most {most_usd:,}")
    return replace(
        costs, slippage_bps=slippage_bps, commission_a_share_usd=2 * costs.commission_a_share_usd,
        commission_an_order_usd=2 * costs.commission_an_order_usd,
        commission_a_round_trip_usd=2 * costs.commission_a_round_trip_usd,
    )


def _one_later(scores: Matrix) -> Matrix:
    return np.vstack([np.full((1, scores.shape[1]), np.nan), scores[:-1]])
