"""What a reader of results must know of the bars and of the universe that was traded on them."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise

from closebell.backtest.bar_gaps import gaps_warning
from closebell.backtest.known_evidence import KnownEvidence
from closebell.backtest.survivorship import survivorship_warning
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket


def bar_notes(market: BarMarket) -> tuple[str, ...]:
    """Sentences about the bars: sessions that symbols lack, and that nothing was ever delisted."""
    return tuple(note for note in (gaps_warning(market.panel), survivorship_warning(market.panel)) if note)


def universe_notes(evidence: KnownEvidence, first: date, last: date) -> tuple[str, ...]:
    """Sentences about what was not traded in the sessions `first`..`last`, and why."""
    market, parameters = evidence.market, evidence.parameters
    others, absent = _of_other_markets(market.asset_class, parameters), _without_bars(market, parameters)
    return (*others, *absent, *_uncovered(evidence, first, last))


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


def _uncovered(evidence: KnownEvidence, first: date, last: date) -> Iterator[str]:
    """Where too little of the universe can be judged the evening before, the desk takes its data for broken and buys nothing."""
    days = evidence.market.panel.days
    evenings = [eve for eve, day in pairwise(days) if first <= day <= last]
    least = float(evidence.parameters.limits.universe_coverage_frac_min)
    low_count = sum(evidence.coverage_frac(eve) < least for eve in evenings)
    if low_count:
        yield (
            f"in {low_count} of {len(evenings)} sessions the desk bought nothing, as it could judge less than {least:.0%} of the "
            "universe: not listed, too little history, holes or faults. Lower limits.universe_coverage_frac_min if that is right"
        )
