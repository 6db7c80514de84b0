"""What a reader of results must know of the bars and of the universe that was traded on them."""

from collections.abc import Iterator
from datetime import date

import numpy as np

from closebell.backtest.bar_gaps import gaps_warning
from closebell.backtest.survivorship import survivorship_warning
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket


def bar_notes(market: BarMarket) -> tuple[str, ...]:
    """Sentences about the bars: sessions that symbols lack, and that nothing was ever delisted."""
    return tuple(note for note in (gaps_warning(market.panel), survivorship_warning(market.panel)) if note)


def universe_notes(market: BarMarket, parameters: ParameterSet, first: date, last: date) -> tuple[str, ...]:
    """Sentences about what was not traded in the sessions `first`..`last`, and why."""
    others, absent = _of_other_markets(market.asset_class, parameters), _without_bars(market, parameters)
    return (*others, *absent, *_uncovered(market, parameters, first, last))


def _of_other_markets(traded: Market, parameters: ParameterSet) -> Iterator[str]:
    """A configuration may name both markets, of which a backtest trades one, with the whole account."""
    others_count = sum(instrument.market is not traded for instrument in parameters.universe)
    if others_count:
        yield f"a backtest trades one market, here {traded}: {others_count} other symbols of the configuration are left out"


def _without_bars(market: BarMarket, parameters: ParameterSet) -> Iterator[str]:
    known, universe = set(market.panel.symbols), parameters.instruments(market.asset_class)
    absent = [instrument.symbol for instrument in universe if instrument.symbol not in known]
    if absent:
        yield f"no bars of {', '.join(absent)}: skipped in every session"
    if parameters.regime_symbol_of(market.asset_class) not in known:
        yield "no bars of the regime's symbol: the market's trend counts as unknown"


def _uncovered(market: BarMarket, parameters: ParameterSet, first: date, last: date) -> Iterator[str]:
    """Where too much of the universe had no bars, not yet or no longer: the desk then takes its data for broken and buys nothing.

    A symbol without enough history, or with a hole in it, counts as one without bars too; that is not told here.
    """
    panel, universe = market.panel, {instrument.symbol for instrument in parameters.instruments(market.asset_class)}
    columns = [column for column, symbol in enumerate(panel.symbols) if symbol in universe]
    traded = (panel.sessions >= np.datetime64(first)) & (panel.sessions <= np.datetime64(last))
    least = parameters.limits.universe_coverage_frac_min
    coverage = np.isfinite(panel.close[traded][:, columns]).sum(axis=1) / max(len(universe), 1)
    low_count = int((coverage < float(least)).sum())
    if low_count:
        yield (
            f"in {low_count} of {len(coverage)} sessions less than {least:.0%} of the universe had bars, so the desk bought "
            "nothing: lower limits.universe_coverage_frac_min if they were not listed then"
        )
