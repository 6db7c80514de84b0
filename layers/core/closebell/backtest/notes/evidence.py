"""What a reader of results must know of the bars and of the universe that was traded on them."""

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np

from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.notes.gaps import SYMBOLS_SHOWN_MAX, gaps_warning, untraded_sessions_warning
from closebell.backtest.notes.prices import one_price_warning, unknown_volumes_warning
from closebell.backtest.notes.survivorship import survivorship_warning
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket

_REASONS = "not listed, too little history, holes or faults"


def bar_notes(market: BarMarket, parameters: ParameterSet, source_notes: tuple[str, ...]) -> tuple[str, ...]:
    """Sentences about the bars: `source_notes` of where they come from, sessions that all or some symbols lack, and, of what is
    traded, that it has a close alone or no volumes, and that nothing was ever delisted."""
    symbols = {instrument.symbol for instrument in parameters.instruments(market.asset_class)}
    traded = market.as_traded.columns(tuple(symbol for symbol in market.panel.symbols if symbol in symbols))
    found = (
        untraded_sessions_warning(market.panel), gaps_warning(market.panel), one_price_warning(traded),
        unknown_volumes_warning(traded), survivorship_warning(traded),
    )  # fmt: skip
    return (*source_notes, *(note for note in found if note))


def not_yet_note(panel: BarPanel, today: date) -> tuple[str, ...]:
    """One sentence where bars are of days to come."""
    last = panel.days[-1]
    return (f"bars up to {last} lie after {today}, today: prices that nobody can know yet",) if last > today else ()


def universe_notes(evidence: KnownEvidence, first: date, last: date) -> tuple[str, ...]:
    """Sentences about what was not traded in the sessions `first`..`last`, and why."""
    market, parameters = evidence.market, evidence.parameters
    others, absent = _of_other_markets(market.asset_class, parameters), _without_bars(market, parameters)
    return (*others, *_of_margin(parameters), *absent, *_unjudged(evidence, first, last))


def _of_other_markets(traded: Market, parameters: ParameterSet) -> Iterator[str]:
    """A configuration may name both markets, of which a backtest trades one, with the whole account."""
    others_count = sum(instrument.market is not traded for instrument in parameters.universe)
    if others_count:
        yield f"a backtest trades one market, here {traded}: {others_count} other symbols of the configuration are left out"


def _of_margin(parameters: ParameterSet) -> Iterator[str]:
    """A limit that a deployed desk's account may reach on margin, and a backtest's never does."""
    most_frac = parameters.limits.gross_exposure_frac_max
    if most_frac > 1:
        yield (
            f"limits.gross_exposure_frac_max is {float(most_frac):g}, and a backtest's account has no margin: nothing is bought "
            "on credit, so what is above 1 changes nothing"
        )


def _without_bars(market: BarMarket, parameters: ParameterSet) -> Iterator[str]:
    known, universe = set(market.panel.symbols), parameters.instruments(market.asset_class)
    absent = [instrument.symbol for instrument in universe if instrument.symbol not in known]
    if absent:
        yield f"no bars of {', '.join(absent)}: skipped in every session"
    if parameters.regime_symbol_of(market.asset_class) not in known:
        yield _without_regime(market, parameters)


def _without_regime(market: BarMarket, parameters: ParameterSet) -> str:
    """What follows where the market's trend cannot be told: the least risk a trade, as `risk_budget_frac` has it."""
    symbol, least_frac = parameters.regime_symbol_of(market.asset_class), parameters.limits.risk_per_trade_frac_min
    is_crypto = market.asset_class is Market.CRYPTO
    has_vix = not is_crypto and bool(market.volatility_index())
    setting = "crypto_regime_symbol" if is_crypto else "regime_symbol"
    unknown = "trend counts" if has_vix else "trend and volatility count"
    return (
        f"no bars of {symbol} ({setting}): the market's {unknown} as unknown, so each trade risks at most "
        f"{100 * float(least_frac):g}% of equity (limits.risk_per_trade_frac_min); add {symbol.replace('/', '-')}.csv to the bars"
    )


def _unjudged(evidence: KnownEvidence, first: date, last: date) -> Iterator[str]:
    """Where too little of the universe can be judged the evening before, the desk takes its data for broken and buys nothing."""
    evenings = evidence.evenings(first, last)
    least = float(evidence.parameters.limits.universe_coverage_frac_min)
    shares = [evidence.coverage_frac(eve) for eve in evenings]
    none_count, few_count = sum(share == 0 for share in shares), sum(0 < share < least for share in shares)
    count, nothing = len(evenings), "sessions the desk bought nothing, as it could judge"
    if none_count:
        yield f"in {none_count} of {count} {nothing} no symbol at all: {_REASONS}"
    if few_count:
        hint = "Lower limits.universe_coverage_frac_min if that is right"
        yield f"in {few_count} of {count} {nothing} less than {100 * least:g}% of the universe: {_REASONS}. {hint}"
    if none_count < count:
        yield from _never_judged(evidence, evenings)


def _never_judged(evidence: KnownEvidence, evenings: Sequence[date]) -> Iterator[str]:
    """The symbols with bars that were never judged; those of which it is told already what is wrong with them are not named."""
    panel, judged = evidence.market.panel, evidence.judged_symbols(evenings)
    others = set(panel.symbols) - judged - evidence.faulty.keys()
    universe = evidence.parameters.instruments(evidence.market.asset_class)
    symbols = [instrument.symbol for instrument in universe if instrument.symbol in others]
    if symbols:
        shown = ", ".join(f"{symbol} ({_span(panel, symbol)})" for symbol in symbols[:SYMBOLS_SHOWN_MAX])
        more = f" and {len(symbols) - SYMBOLS_SHOWN_MAX} more symbols" if len(symbols) > SYMBOLS_SHOWN_MAX else ""
        yield f"never judged, so never bought: {shown}{more}; {_REASONS}"


def _span(panel: BarPanel, symbol: str) -> str:
    """How many bars a symbol has, and from when to when."""
    days = panel.sessions[np.isfinite(panel.close[:, panel.symbols.index(symbol)])]
    if len(days) <= 1:
        return f"1 bar, {days[0]}" if len(days) else "no bars"
    return f"{len(days)} bars, {days[0]} to {days[-1]}"
