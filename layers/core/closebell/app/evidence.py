"""What a session's decisions are made from: bars and what follows from them, read once before anything is decided."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

import numpy as np

from closebell.analysis.regime import regimes
from closebell.analysis.validation import bar_problems
from closebell.decision.board import Ground
from closebell.model.decision import Regime
from closebell.model.errors import BrokerUnavailable, ConfigurationError, DataError
from closebell.model.instruments import Market, SessionHours
from closebell.model.panel import BarPanel, Matrix
from closebell.model.parameters import HISTORY_SESSIONS_MAX, ParameterSet
from closebell.ports.market_data import MarketData, VolatilityIndex, VolatilitySeries
from closebell.strategies import score_all, sessions_needed

VOLATILITY_CLOSES_KEPT = 260


class SessionPair(NamedTuple):
    """The session just ended and the one to plan for.

    `window` has the dates of the sessions up to the former that bars are read of, `calendar` the dates of the market's sessions
    from the oldest position's on, ascending; it may begin earlier and end later.
    """

    ended: SessionHours
    following: SessionHours
    window: tuple[date, ...]
    calendar: tuple[date, ...]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What decides, besides the desk's own state and configuration.

    Parameters
    ----------
    panel
        The bars that were read: the universe, and the symbol whose averages tell the regime.
    universe
        The universe's columns of the panel; it may reach beyond the session, the rows after it are not looked at.
    problems
        Symbol -> why it must be skipped.
    scores
        Strategy -> sessions x symbols of `universe`.
    splits
        What was reported: symbol -> ex-date -> ratio.
    notes
        What was missing, in words.
    ground
        What holds for every session of `universe`, where many of them are decided.
    """

    panel: BarPanel
    universe: BarPanel
    problems: Mapping[str, str]
    scores: Mapping[str, Matrix]
    regime: Regime
    volatility: VolatilitySeries | None
    splits: Mapping[str, Mapping[date, float]]
    notes: tuple[str, ...]
    ground: Ground | None = None

    @property
    def volatility_closes(self) -> dict[date, float]:
        """The last year of volatility index closes by date."""
        if self.volatility is None:
            return {}
        days = self.volatility.sessions[-VOLATILITY_CLOSES_KEPT:].astype("datetime64[D]").astype(object)
        closes = np.asarray(self.volatility.closes[-VOLATILITY_CLOSES_KEPT:], dtype=float)
        return dict(zip(days.tolist(), closes.tolist(), strict=True))

    def sha256(self, parameters: ParameterSet) -> str:
        """The fingerprint of what decided: bars, volatility index, problems and configuration."""
        parts = (
            self.panel.sha256(),
            repr(sorted(self.volatility_closes.items())),
            repr(sorted(self.problems.items())),
            parameters.as_json,
        )
        return hashlib.sha256("|".join(parts).encode()).hexdigest()


class EvidenceReader(Protocol):
    """Where the evidence comes from."""

    def read(self, market: Market, parameters: ParameterSet, pair: SessionPair) -> Evidence:
        """The evidence after a session. Raises BrokerUnavailable, DataError (no bars at all)."""


@dataclass(frozen=True)
class MarketEvidence:
    """Implements `EvidenceReader` over the feeds: the window's bars are read and judged anew in every run."""

    data: MarketData
    volatility_index: VolatilityIndex

    def read(self, market: Market, parameters: ParameterSet, pair: SessionPair) -> Evidence:
        asked = asked_symbols(parameters, market)
        first, last = pair.window[0], pair.ended.session
        panel = self.data.daily_bars(asked, market, first, last)
        if not len(panel.sessions):
            raise DataError(
                f"the feed returned no bars at all for {len(asked)} symbols from {first} to {last}: nothing is decided"
            )
        notes = []
        splits: Mapping[str, Mapping[date, float]] = {}
        try:
            splits = self.data.split_dates(asked, first, last)
        except BrokerUnavailable as error:
            notes.append(f"reported splits could not be read, only jumps in the prices tell of one: {error}")
        volatility: VolatilitySeries | None = None
        if market is Market.US_EQUITY:
            try:
                volatility = self.volatility_index.closes(last)
            except DataError as error:
                notes.append(f"realised volatility stands in for the VIX: {error}")
        return judged(panel, market, parameters, last, volatility, splits, tuple(notes))


def asked_symbols(parameters: ParameterSet, market: Market) -> tuple[str, ...]:
    """The symbols whose bars are read: the universe, and the one that the regime is told from."""
    universe = (instrument.symbol for instrument in parameters.instruments(market))
    return tuple(dict.fromkeys((*universe, parameters.regime_symbol_of(market))))


def sessions_judged(parameters: ParameterSet) -> int:
    """How many sessions a symbol must have bars of: the longest look back of the strategies.

    Raises ConfigurationError where that is more than a decision reads, with which nothing could ever be bought.
    """
    needed = sessions_needed(parameters.strategies)
    if needed > parameters.history_sessions:
        remedy = f"set history_sessions to {needed} or more" if needed <= HISTORY_SESSIONS_MAX else "no desk reads so many"
        raise ConfigurationError(
            f"{', '.join(parameters.strategies)}: the longest look back is {needed} sessions, and a decision reads "
            f"{parameters.history_sessions} (history_sessions, at most {HISTORY_SESSIONS_MAX}): {remedy}"
        )
    return needed


def judged(
    panel: BarPanel, market: Market, parameters: ParameterSet, last: date,
    volatility: VolatilitySeries | None, splits: Mapping[str, Mapping[date, float]], notes: tuple[str, ...],
) -> Evidence:
    """The evidence that a panel ending with session `last` gives: problems, scores, regime. Pure."""
    universe = panel.columns(tuple(instrument.symbol for instrument in parameters.instruments(market)))
    index = panel.columns((parameters.regime_symbol_of(market),)).close[:, 0]
    return Evidence(
        panel=panel,
        universe=universe,
        problems=bar_problems(universe, last, splits, sessions_judged(parameters)),
        scores=score_all(parameters.strategies, universe),
        regime=regimes(panel.sessions, index, volatility, market).at(len(panel.sessions) - 1),
        volatility=volatility,
        splits=splits,
        notes=notes,
    )
