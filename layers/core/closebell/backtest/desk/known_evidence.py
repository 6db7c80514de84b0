"""The evidence of every session of a market, computed once for all of them.

Scores and regime of a row use rows up to it only, as the bias checks show for every strategy and for the regime; so the whole
matrix has the rows that the desk would compute each evening from its window. Nothing of a later row is looked at: what is handed
out for a session is its row.

Bars that are not adjusted make this wrong across a split, so the matrices are computed anew as of every ex-date: the rows up to
the next one, with the sessions before that the desk looks back on.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from closebell.analysis.regime import RegimeSeries, regimes
from closebell.analysis.validation import Flags, bar_problems, usable
from closebell.app.evidence import Evidence, SessionPair, asked_symbols, sessions_judged
from closebell.decision.board import Ground, ground_of
from closebell.model.decision import Regime
from closebell.model.errors import ConfigurationError, DataError
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.model.parameters import ParameterSet
from closebell.ports.market_data import VolatilitySeries
from closebell.simulation.bar_market import BarMarket
from closebell.strategies import score_all


@dataclass(frozen=True, eq=False)
class _Matrices:
    """Everything that is known of each session between two ex-dates, as the bars are adjusted there."""

    panel: BarPanel
    universe: BarPanel
    scores: Mapping[str, Matrix]
    is_usable: Flags
    regime: RegimeSeries
    ground: Ground
    rows: Mapping[date, int]


class KnownEvidence:
    """Implements `EvidenceReader` over a `BarMarket`: every session's rows of matrices that are computed once.

    `faulty` grows with the sessions that are read: symbol -> in how many it was skipped for bars that are there and cannot be
    right, and what is wrong with them. So does `regimes`: session -> the regime at its close.

    Raises DataError when the market has none of the universe, ConfigurationError for strategies that look back too far.
    """

    def __init__(self, market: BarMarket, parameters: ParameterSet) -> None:
        self.market, self.parameters = market, parameters
        traded = market.asset_class
        asked = asked_symbols(parameters, traded)
        universe = {instrument.symbol for instrument in traded_instruments(parameters, traded)}
        if universe.isdisjoint(market.panel.symbols):
            raise DataError(f"the bars have none of the {len(universe)} symbols of the configuration, such as {min(universe)}")
        self._raw = _columns(market.panel, asked)
        self._splits = {symbol: found for symbol, found in market.split_ratios.items() if symbol in asked}
        self._eras = [date.min, *sorted({day for found in self._splits.values() for day in found}), date.max]
        self._minimum_sessions = sessions_judged(parameters)
        self._volatility = _series_of(market.volatility_index()) if traded is Market.US_EQUITY else None
        self._era = -1
        self.faulty: dict[str, tuple[int, str]] = {}
        self.regimes: dict[date, Regime] = {}
        self._is_usable: dict[date, NDArray[np.bool_]] = {}
        self._matrices: _Matrices | None = None

    def read(self, market: Market, parameters: ParameterSet, pair: SessionPair) -> Evidence:
        session = pair.ended.session
        known = self._as_of(session)
        row = known.rows.get(session)
        if row is None:
            raise DataError(f"the market has no bars of {session}")
        splits = {
            symbol: {day: ratio for day, ratio in found.items() if pair.window[0] <= day <= session}
            for symbol, found in self._splits.items()
            if any(pair.window[0] <= day <= session for day in found)
        }
        self.regimes[session] = known.regime.at(row)
        return Evidence(
            panel=known.panel,
            universe=known.universe,
            problems={} if known.is_usable[row].all() else self._problems(known, row, pair, splits),
            scores=known.scores,
            regime=self.regimes[session],
            volatility=self._volatility_until(session),
            splits=splits,
            notes=(),
            ground=known.ground,
        )

    def _problems(
        self, known: _Matrices, row: int, pair: SessionPair, splits: Mapping[str, Mapping[date, float]]
    ) -> dict[str, str]:
        """Why symbols must be skipped: only those whose bars are not usable are looked at again, for the words."""
        suspects = np.flatnonzero(~known.is_usable[row])
        symbols = tuple(known.universe.symbols[column] for column in suspects.tolist())
        first = int(np.searchsorted(known.panel.sessions, np.datetime64(pair.window[0])))
        window = known.universe.rows(slice(first, row + 1)).columns(symbols)
        problems = bar_problems(window, pair.ended.session, splits, self._minimum_sessions)
        looked_at = window.close[-self._minimum_sessions :]
        are_whole = np.isfinite(looked_at).all(axis=0) & (len(looked_at) == self._minimum_sessions)
        for column in np.flatnonzero(are_whole).tolist():
            if symbols[column] in problems:
                count, _ = self.faulty.get(symbols[column], (0, ""))
                self.faulty[symbols[column]] = (count + 1, problems[symbols[column]])
        return problems

    def _as_of(self, session: date) -> _Matrices:
        era = bisect_right(self._eras, session) - 1
        if self._matrices is None or era != self._era:
            self._era, self._matrices = era, self._computed(self._eras[era], self._eras[era + 1])
        return self._matrices

    def _computed(self, since: date, until: date) -> _Matrices:
        """The matrices from one ex-date up to, not including, the next."""
        parameters, traded = self.parameters, self.market.asset_class
        begin, end = np.searchsorted(self._raw.sessions, np.array([since, until], "datetime64[D]")).tolist()
        raw = self._raw.rows(slice(max(begin + 1 - parameters.history_sessions, 0), end))
        panel = _adjusted(raw, self._splits, since)
        universe = panel.columns(tuple(instrument.symbol for instrument in parameters.instruments(traded)))
        index = panel.columns((parameters.regime_symbol_of(traded),)).close[:, 0]
        scores, is_usable = self._scored(universe), usable(universe, self._splits, self._minimum_sessions)
        rows = {day: row for row, day in enumerate(panel.days)}
        self._is_usable |= {day: is_usable[row].copy() for day, row in rows.items() if day >= since}
        return _Matrices(
            panel=panel,
            universe=universe,
            scores=scores,
            is_usable=is_usable,
            regime=regimes(panel.sessions, index, self._volatility, traded),
            ground=ground_of(parameters, traded, universe, scores),
            rows=rows,
        )

    def evenings(self, first: date, last: date) -> list[date]:
        """The sessions after which the sessions `first`..`last` are decided, ascending."""
        return [eve for eve, day in pairwise(self.market.panel.days) if first <= day <= last]

    def coverage_frac(self, session: date) -> float:
        """The share of the universe that the desk can judge after a session of the market."""
        return float(self._usable_after(session).mean())

    def judged_symbols(self, sessions: Iterable[date]) -> set[str]:
        """The symbols of the universe that the desk can judge after one at least of some sessions of the market."""
        symbols = [instrument.symbol for instrument in self.parameters.instruments(self.market.asset_class)]
        is_judged = np.zeros(len(symbols), dtype=bool)
        for session in sessions:
            is_judged |= self._usable_after(session)
        return {symbols[column] for column in np.flatnonzero(is_judged).tolist()}

    def _usable_after(self, session: date) -> NDArray[np.bool_]:
        """Which symbols of the universe, in its order, the desk can judge after a session of the market."""
        if session not in self._is_usable:
            self._as_of(session)
        return self._is_usable[session]

    def _scored(self, universe: BarPanel) -> Mapping[str, Matrix]:
        """Strategy -> sessions x symbols."""
        return score_all(self.parameters.strategies, universe)

    def _volatility_until(self, session: date) -> VolatilitySeries | None:
        if self._volatility is None:
            return None
        count = int(np.searchsorted(self._volatility.sessions, np.datetime64(session), side="right"))
        return VolatilitySeries(self._volatility.sessions[:count], self._volatility.closes[:count])


def traded_instruments(parameters: ParameterSet, market: Market) -> tuple[Instrument, ...]:
    """What a configuration trades in one market. Raises ConfigurationError when that is nothing."""
    instruments = parameters.instruments(market)
    if not instruments:
        raise ConfigurationError(f"the configuration names no {market} instruments, and the bars are of nothing else")
    return instruments


def _columns(panel: BarPanel, symbols: tuple[str, ...]) -> BarPanel:
    """Some symbols of a panel; one that it does not have is a column of NaN."""
    place = {symbol: column for column, symbol in enumerate(panel.symbols)}
    if place.keys() >= set(symbols):
        return panel.columns(symbols)
    blank = np.full(len(panel.sessions), np.nan)
    fields = [
        np.column_stack([getattr(panel, field)[:, place[symbol]] if symbol in place else blank for symbol in symbols])
        for field in FIELDS
    ]
    return BarPanel(panel.sessions, symbols, *fields)


def _series_of(closes: Mapping[date, object]) -> VolatilitySeries | None:
    if not closes:
        return None
    days = sorted(closes)
    return VolatilitySeries(np.array(days, dtype="datetime64[D]"), np.array([float(str(closes[day])) for day in days]))


def universe_panel(market: BarMarket, parameters: ParameterSet, first: date, last: date) -> BarPanel:
    """The sessions `first`..`last` of those symbols that a configuration trades and the market has, as adjusted at the end."""
    traded = traded_instruments(parameters, market.asset_class)
    symbols = tuple(instrument.symbol for instrument in traded if instrument.symbol in market.panel.symbols)
    adjusted = _adjusted(market.panel.columns(symbols).through(last), market.split_ratios, last)
    return adjusted.rows(slice(int(np.searchsorted(adjusted.sessions, np.datetime64(first))), None))


def _adjusted(raw: BarPanel, splits: Mapping[str, Mapping[date, float]], as_of: date) -> BarPanel:
    """The bars as a vendor shows them on a date: what came before a split that has happened is made comparable."""
    factors = np.ones(raw.close.shape)
    for column, symbol in enumerate(raw.symbols):
        for day, ratio in splits.get(symbol, {}).items():
            if day <= as_of:
                factors[raw.sessions < np.datetime64(day), column] *= ratio
    if (factors == 1.0).all():
        return raw
    prices = {field: getattr(raw, field) / factors for field in FIELDS[:4]}
    return replace(raw, **prices, volume=raw.volume * factors)
