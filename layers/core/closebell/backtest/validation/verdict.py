"""A validation's verdict: one flag a question, each with its number, its limit and its colour.

Red refuses. Amber is what an owner should know: it stands where an honest strategy may fall short too.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from closebell.backtest.bias.checks import LOOKAHEAD_CHECKS, lookahead_findings
from closebell.backtest.bias.subjects import strategy_subject
from closebell.backtest.validation.statistics import break_even_win_rate_frac, sharpe_or_zero, total_return_frac
from closebell.backtest.validation.stress import CRASHES
from closebell.backtest.validation.validate import LuckMeasures, Validation
from closebell.model.errors import ConfigurationError
from closebell.model.panel import BarPanel
from closebell.reports.formatting import usd
from closebell.strategies import SCORE_DECIMALS, Strategy

DEFLATED_SHARPE_FRAC_MIN = 0.95
PBO_FRAC_MAX = 0.5
CHOSEN_LOSS_FRAC_MAX = 0.05
SUPERIOR_P_FRAC_MAX = 0.05
RANDOM_TIMING_P_FRAC_MAX = 0.01
"""Less than elsewhere: where prices rise it is often the only question that noise does not answer well."""
DRAWDOWN_FRAC_MAX = 0.30
SHARPE_ANNUAL_MIN = 0.5
NEIGHBOURS_RATIO_MIN = 0.5
SINGLE_SHARPE_SHARE_MIN = 0.9
FLAG_CUTS_COUNT = 16
"""A quarter of what `closebell lookahead` cuts, on the same panels and one more: a slow strategy must not take longer here
than in its backtests."""
UNLUCKY_PERCENTILE = 95


class Colour(StrEnum):
    """What a flag says: go, know, stop; or that its question could not be put to these bars and trials."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    NOT_ASKED = "not asked"


class VerdictFlag(NamedTuple):
    """One question: the value must be `comparison` (>, ≥ or ≤) the limit. `is_frac` tells a fraction (0.02 is two percent) from
    a ratio; a value of None could not be computed."""

    question: str
    value: float | None
    comparison: str
    limit: float
    is_frac: bool
    colour: Colour
    note: str


def flags(found: Validation) -> list[VerdictFlag]:
    """Every flag, the gravest questions first."""
    return [*_luck(found), *_results(found), *_robustness(found), *_holdout(found)]


def lookahead_flag(strategy: Strategy, panels: Mapping[str, BarPanel]) -> VerdictFlag:
    """How many of the lookahead checks a strategy fails. Amber, as numbers that are drawn by their place in a matrix fail too."""
    subject = strategy_subject(strategy, SCORE_DECIMALS)
    try:
        findings = lookahead_findings(subject, panels, FLAG_CUTS_COUNT)
    except ConfigurationError as error:
        count, note = len(LOOKAHEAD_CHECKS), f"{error}"
    else:
        count, note = len(findings), f"{findings[0]}" if findings else ""
    return _at_most("lookahead: checks failed", float(count), 0.0, is_frac=False, failing=Colour.AMBER, note=note)


def is_refused(judged: list[VerdictFlag]) -> bool:
    """Whether a red flag stands."""
    return any(flag.colour is Colour.RED for flag in judged)


def _luck(found: Validation) -> Iterator[VerdictFlag]:
    luck, best = found.luck, found.luck.overfitting
    yield _at_least(
        "skill, not luck: deflated Sharpe", luck.deflated_sharpe_frac, DEFLATED_SHARPE_FRAC_MIN, is_frac=True,
        note=f"{luck.trials_ever_count} trials were run here; the best of as many without skill shows a Sharpe of "
             f"{luck.expected_max_sharpe_annual_ratio:.2f}",
    )  # fmt: skip
    if len(found.trials) == 1:  # nothing was chosen here, so no choice can have been overfitted
        yield _at_most("overfitted: PBO", None, PBO_FRAC_MAX, failing=Colour.NOT_ASKED, note="one trial only")
    elif best is None:
        yield _at_most("overfitted: PBO", None, PBO_FRAC_MAX, note="fewer than two trials traded enough to be compared")
    else:
        is_harmful = best.loss_frac > CHOSEN_LOSS_FRAC_MAX
        yield _at_most(
            "overfitted: PBO", best.pbo_frac, PBO_FRAC_MAX, failing=Colour.RED if is_harmful else Colour.AMBER,
            note=f"what one half chose lost money in the other in {best.loss_frac:.0%} of the cases"
                 + ("" if is_harmful else ": whichever is chosen earns"),
        )  # fmt: skip
    yield _at_most(
        "any trial better than cash: SPA p-value", luck.superior_p_frac, SUPERIOR_P_FRAC_MAX,
        note=f"trials of this run: {len(found.trials)}",
    )
    p_frac = luck.random_timing.p_frac if luck.random_timing else None
    yield _at_most("better than at random times: p-value", p_frac, RANDOM_TIMING_P_FRAC_MAX, note=_timing_note(luck))


def _timing_note(luck: LuckMeasures) -> str:
    timing = luck.random_timing
    if timing is None:
        return "no trades"
    earned, elsewhere = (usd(Decimal(f"{amount}"), 0) for amount in (timing.earned_usd, timing.reordered_median_usd))
    return (
        f"{earned} before costs; the same trades as if at other times and of other symbols: {elsewhere} in the median; "
        f"configurations judged here: {luck.judged_ever_count}"
    )


def _results(found: Validation) -> Iterator[VerdictFlag]:
    configured, numbers = found.trials[0], found.trials[0].summary
    yield _at_least("return after costs", numbers["total_return_frac"], 0.0, is_frac=True, is_strict=True,
                    note=f"{numbers['gross_total_return_frac']:.2%} before costs")  # fmt: skip
    yield _at_least("Sharpe, annual", numbers["sharpe_annual_ratio"], SHARPE_ANNUAL_MIN)
    yield _at_most("deepest drawdown", numbers["drawdown_frac_max"], DRAWDOWN_FRAC_MAX)
    break_even = break_even_win_rate_frac(configured.trades_pnl_usd)
    yield _at_least(
        "win rate", numbers["win_rate_frac"], break_even or 0.0, is_frac=True, is_strict=True,
        note=f"{numbers['trades_count']} trades; the limit is where gains and losses of their size balance",
    )
    yield from _against_singles(found)
    year = found.market.sessions_a_year_count
    for name, walk in (("anchored", found.anchored), ("rolling", found.rolling)):
        yield _at_least(
            f"walk-forward return, {name}", total_return_frac(walk.returns), 0.0, is_frac=True, is_strict=True,
            note=f"out of sample, {len(walk.folds)} folds, Sharpe {sharpe_or_zero(walk.returns, year):.2f}",
        )
    chosen = found.chosen_on_train
    yield _at_least(
        "best of train, on validation", total_return_frac(chosen.returns[found.train_count :]), 0.0, is_frac=True, is_strict=True,
        failing=Colour.AMBER, note=f"{chosen.name}: Sharpe {sharpe_or_zero(chosen.returns[: found.train_count], year):.2f}, then "
                                   f"{sharpe_or_zero(chosen.returns[found.train_count :], year):.2f}",
    )  # fmt: skip


def _against_singles(found: Validation) -> Iterator[VerdictFlag]:
    """The ensemble against the best single strategy; nothing to ask when there is one strategy.

    The best of several is in part luck: an ensemble that comes near it is amber.
    """
    alone = [trial for trial in found.trials if trial.name in found.trials[0].parameters.strategies]
    if alone:
        year = found.market.sessions_a_year_count
        best = max(alone, key=lambda trial: sharpe_or_zero(trial.returns, year))
        ensemble, limit = sharpe_or_zero(found.trials[0].returns, year), sharpe_or_zero(best.returns, year)
        is_near = limit > 0 and ensemble >= limit * SINGLE_SHARPE_SHARE_MIN
        yield _at_least(
            "ensemble's Sharpe against the best single's", ensemble, limit, failing=Colour.AMBER if is_near else Colour.RED,
            note=f"{best.name} alone",
        )


def _robustness(found: Validation) -> Iterator[VerdictFlag]:
    grid = found.sensitivity
    row, column = grid.best
    best = f"best at stop {grid.stop_loss_fracs[row]:.2%}, target {grid.take_profit_fracs[column]:.2%}"
    is_alone = grid.neighbours_ratio is None
    yield _at_least(
        "no sharp peak: neighbours over best", grid.neighbours_ratio, NEIGHBOURS_RATIO_MIN,
        failing=Colour.NOT_ASKED if is_alone else Colour.RED, note="one stop, one target: --grid 3 asks" if is_alone else best,
    )
    for name, draws in (("bootstrapped", found.luck.bootstrapped_drawdowns_frac),
                        ("trades reordered", found.luck.reordered_drawdowns_frac)):  # fmt: skip
        yield _at_most(
            f"drawdown, {name}, 95th percentile", float(np.percentile(draws, UNLUCKY_PERCENTILE)), DRAWDOWN_FRAC_MAX,
            failing=Colour.AMBER, note=f"median {float(np.median(draws)):.2%} of {len(draws)}",
        )
    for stress in found.stresses:
        yield _at_least(
            f"return with {stress.name}", stress.summary["total_return_frac"], 0.0, is_frac=True, is_strict=True,
            failing=Colour.AMBER, note=f"{stress.summary['trades_count']} trades",
        )
    yield from _crashes(found)


def _crashes(found: Validation) -> Iterator[VerdictFlag]:
    """What the account did in each crash; where the sessions judged do not cover one, that it was not seen."""
    told = {crash.name: crash for crash in found.crashes}
    for name, span in CRASHES.items():
        crash, question = told.get(name), f"drawdown in {name}"
        if crash is not None:
            note = f"{crash.span}, return {crash.return_frac:.2%}"
            yield _at_most(question, crash.drawdown_frac_max, DRAWDOWN_FRAC_MAX, note=note)
        else:
            is_held_out = span.last >= found.split.holdout.first and span.first <= found.split.holdout.last
            note = f"{span}: " + ("in the holdout, at least in part" if is_held_out else "not wholly in the bars judged")
            yield _at_most(question, None, DRAWDOWN_FRAC_MAX, failing=Colour.NOT_ASKED, note=note)


def _holdout(found: Validation) -> Iterator[VerdictFlag]:
    """What was found when the holdout was opened stands for good; opened and not judged, it can vouch for nothing."""
    seal = found.seal
    if not seal.opened_count:
        return
    numbers: Mapping[str, Any] = seal.result.summary if seal.result else {}
    note = f"{seal.span}, {numbers['trades_count']} trades" if numbers else "opened and not judged: --open-holdout goes on"
    is_its = seal.opened_configuration_sha256 == found.judged_sha256
    others = "" if is_its else "of another configuration, other code or other costs: those that it was opened with"
    told = "; ".join(part for part in (note, others) if part)
    yield _at_least("holdout: return after costs", numbers.get("total_return_frac"), 0.0, is_frac=True, is_strict=True, note=told)
    yield _at_most("holdout: deepest drawdown", numbers.get("drawdown_frac_max"), DRAWDOWN_FRAC_MAX, note=others)


def _at_least(
    question: str, value: float | None, limit: float, *, is_frac: bool = False, is_strict: bool = False,
    failing: Colour = Colour.RED, note: str = "",
) -> VerdictFlag:
    passes = value is not None and (value > limit if is_strict else value >= limit)
    return VerdictFlag(question, value, ">" if is_strict else "≥", limit, is_frac, Colour.GREEN if passes else failing, note)


def _at_most(
    question: str, value: float | None, limit: float, *, is_frac: bool = True, failing: Colour = Colour.RED, note: str = ""
) -> VerdictFlag:
    passes = value is not None and value <= limit
    return VerdictFlag(question, value, "≤", limit, is_frac, Colour.GREEN if passes else failing, note)
