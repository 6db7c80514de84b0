"""The session's board: for every symbol of the universe its sector, its close and its votes, as arrays.

Nothing later than the session's row is read, so panel and scores may reach beyond it: a backtest passes them whole.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from closebell.decision.desk_view import DeskView
from closebell.decision.entries import ranked_buys
from closebell.decision.money import usd_from_float
from closebell.decision.plans import commitment_price_usd, entry_limit_usd
from closebell.decision.risk import Candidate
from closebell.decision.vote import NO_BALLOT, NO_TALLY, STANCES, Ballot, Tally, ballot, tally
from closebell.model.decision import Regime, Stance
from closebell.model.instruments import Market
from closebell.model.panel import BarPanel, Matrix
from closebell.model.parameters import ParameterSet

VOLUME_SESSIONS = 20
"""A symbol's daily volume is the mean of this many sessions."""


@dataclass(frozen=True, eq=False)
class SessionInputs:
    """All that a session's decision depends on.

    Parameters
    ----------
    panel
        Bars of the universe up to `session` or beyond; other symbols in it are ignored.
    problems
        Symbol -> why it must be skipped.
    scores
        Strategy -> sessions x symbols of the panel, for every strategy that the parameters name.
    session, next_session
        The session decided after, and the one the plans are for.
    ground
        What holds for every session of the panel, where it is known already.
    """

    panel: BarPanel
    problems: Mapping[str, str]
    scores: Mapping[str, Matrix]
    regime: Regime
    desk: DeskView
    parameters: ParameterSet
    market: Market
    session: date
    next_session: date
    ground: "Ground | None" = None


@dataclass(frozen=True, eq=False)
class Universe:
    """A market's symbols, in the order of the configuration, and where they stand in a panel.

    `columns` holds the panel's column of each symbol that the panel knows; `places` are the same columns as an array, `ranks` the
    place of each of the panel's symbols in their alphabet.
    """

    sectors: Mapping[str, str]
    columns: Mapping[str, int]
    places: NDArray[np.intp]
    ranks: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Ground:
    """What holds for every session of a panel: where the universe stands in it, and, of all sessions, the votes.

    Nothing of a session depends on a later one, so `votes` (sessions x symbols) are row by row what each evening would count.
    """

    universe: Universe
    votes: Tally


def universe_of(parameters: ParameterSet, market: Market, panel: BarPanel) -> Universe:
    """The universe on a panel; the same for every session of it."""
    sectors = {instrument.symbol: instrument.sector for instrument in parameters.instruments(market)}
    columns = {symbol: column for column, symbol in enumerate(panel.symbols) if symbol in sectors}
    places = np.fromiter(columns.values(), dtype=np.intp, count=len(columns))
    ranks = np.empty(len(panel.symbols), dtype=np.intp)
    ranks[sorted(range(len(panel.symbols)), key=panel.symbols.__getitem__)] = np.arange(len(panel.symbols))
    return Universe(sectors, columns, places, ranks)


def ground_of(parameters: ParameterSet, market: Market, panel: BarPanel, scores: Mapping[str, Matrix]) -> Ground:
    """What many sessions of a panel have in common, for who decides after each of them."""
    votes = tally([scores[name] for name in parameters.strategies], parameters.votes_to_act_count_min)
    return Ground(universe_of(parameters, market, panel), votes)


@dataclass(frozen=True, eq=False)
class Board:
    """The universe after one session.

    Parameters
    ----------
    row
        The session's row of the panel; it is looked at for usable symbols only, of which there are none when the panel
        does not have the session.
    is_usable
        Over the panel's symbols: in the universe, with a price and without a problem.
    votes
        The tally of the row; arrays over the panel's symbols.
    """

    inputs: SessionInputs
    universe: Universe
    row: int
    is_usable: NDArray[np.bool_]
    votes: Tally

    @property
    def coverage_frac(self) -> Decimal:
        """The share of the universe that can be judged."""
        return Decimal(int(np.count_nonzero(self.is_usable))) / max(len(self.universe.sectors), 1)

    def why_skipped(self, symbol: str) -> str:
        """Why nothing can be decided from a symbol's bars; "" when it can, or when it is not of the universe."""
        column = self.universe.columns.get(symbol)
        if symbol not in self.universe.sectors or (column is not None and self.is_usable[column]):
            return ""
        return self.inputs.problems.get(symbol) or f"no price for {self.inputs.session}"

    def close_usd(self, symbol: str) -> Decimal | None:
        """The session's close; None for a symbol that cannot be judged."""
        column = self._column(symbol)
        return None if column is None else usd_from_float(self.inputs.panel.close[self.row, column])

    def stance(self, symbol: str) -> Stance:
        """What the ensemble makes of a symbol; neutral of one that cannot be judged."""
        column = self._column(symbol)
        return Stance.NEUTRAL if column is None else STANCES[int(self.votes.stance[column])]

    def ballot(self, symbol: str) -> Ballot:
        """The votes on a symbol; none for one that cannot be judged."""
        column = self._column(symbol)
        if column is None:
            return NO_BALLOT
        scores = {name: float(self.inputs.scores[name][self.row, column]) for name in self.inputs.parameters.strategies}
        return ballot(scores, int(self.votes.stance[column]), float(self.votes.vote_score[column]))

    def candidates(self, held: Collection[str]) -> Iterator[Candidate]:
        """What the ensemble would buy and nobody holds, the best first; made one at a time, as they are asked for."""
        if not self.is_usable.any():
            return
        is_eligible = self.is_usable.copy()
        is_eligible[[self.universe.columns[symbol] for symbol in held if symbol in self.universe.columns]] = False
        for column in ranked_buys(self.votes, is_eligible, self.universe.ranks):
            yield self._candidate(self.inputs.panel.symbols[column], column)

    def _column(self, symbol: str) -> int | None:
        column = self.universe.columns.get(symbol)
        return column if column is not None and self.is_usable[column] else None

    def _candidate(self, symbol: str, column: int) -> Candidate:
        parameters, market, panel = self.inputs.parameters, self.inputs.market, self.inputs.panel
        close = usd_from_float(panel.close[self.row, column])
        limit = entry_limit_usd(close, market, parameters)
        return Candidate(
            symbol=symbol, sector=self.universe.sectors[symbol], market=market, reference_price_usd=close,
            commitment_price_usd=commitment_price_usd(close, limit, parameters), stop_loss_frac=parameters.exits.stop_loss_frac,
            average_volume_shares=_average_volume(panel.volume, self.row, column),
        )


def board_of(inputs: SessionInputs) -> Board:
    """Count the votes of the session's row, and sort out what cannot be judged."""
    panel, parameters, ground = inputs.panel, inputs.parameters, inputs.ground
    universe = ground.universe if ground else universe_of(parameters, inputs.market, panel)
    row = int(np.searchsorted(panel.sessions, np.datetime64(inputs.session)))
    if row == len(panel.sessions) or panel.sessions[row] != np.datetime64(inputs.session):
        return Board(inputs, universe, row, np.zeros(len(panel.symbols), dtype=bool), NO_TALLY)
    is_usable = np.zeros(len(panel.symbols), dtype=bool)
    closes = panel.close[row, universe.places]
    is_usable[universe.places] = np.isfinite(closes) & (closes > 0.0)
    is_usable[[universe.columns[symbol] for symbol in inputs.problems if symbol in universe.columns]] = False
    if ground:
        return Board(inputs, universe, row, is_usable, Tally(*(counted[row] for counted in ground.votes)))
    scores = [inputs.scores[name][row] for name in parameters.strategies]
    return Board(inputs, universe, row, is_usable, tally(scores, parameters.votes_to_act_count_min))


def _average_volume(volumes: Matrix, row: int, column: int) -> Decimal | None:
    """Mean of the volumes that are known of the last `VOLUME_SESSIONS` sessions up to a row; None when there are none."""
    recent = volumes[max(row + 1 - VOLUME_SESSIONS, 0) : row + 1, column].tolist()
    known = [volume for volume in recent if math.isfinite(volume)]
    return Decimal(repr(math.fsum(known) / len(known))) if known else None
