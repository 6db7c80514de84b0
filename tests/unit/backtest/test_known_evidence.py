"""The evidence of a whole market costs what its sessions cost, splits or none."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from closebell.app.evidence import SessionPair
from closebell.backtest.desk import known_evidence
from closebell.backtest.desk.known_evidence import KnownEvidence, universe_panel
from closebell.backtest.run import Costs, run_backtest
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import FIELDS, BarPanel, Matrix
from closebell.simulation.bar_market import BarMarket, hours_of
from closebell.strategies import score_all
from tests.unit.backtest.markets import CALENDAR, parameters_of, seeded_panel
from tests.unit.backtest.panel_events import unadjusted

EX_ROWS = (520, 540, 560)
NAMES = ("momentum", "rsi")


def split_market() -> BarMarket:
    """Six symbols over 600 sessions; three of them are split in two, one after the other."""
    panel = seeded_panel(5, 600, 6)
    for number, row in enumerate(EX_ROWS):
        panel = unadjusted(panel, row, 2.0, slice(number, number + 1))
    days = days_of(panel)
    splits = {panel.symbols[number]: {days[row]: 2.0} for number, row in enumerate(EX_ROWS)}
    return BarMarket(panel, hours_of(CALENDAR, panel), splits=splits)


def days_of(panel: BarPanel) -> list[date]:
    found: list[date] = panel.sessions.astype(object).tolist()
    return found


def test_between_splits_only_the_sessions_until_the_next_one_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """And once: also for the regimes of the trades, which are asked for when all is over."""
    market, scored = split_market(), list[int]()
    parameters = parameters_of(market.panel, *NAMES)

    def counted(names: tuple[str, ...], bars: BarPanel) -> dict[str, Matrix]:
        scored.append(len(bars.sessions))
        return score_all(names, bars)

    monkeypatch.setattr(known_evidence, "score_all", counted)
    found = run_backtest(market, parameters, Costs().options(Decimal(100_000)), first=days_of(market.panel)[500])
    opened = [trade.opened_session for trade in found.trades]
    assert min(opened) < days_of(market.panel)[EX_ROWS[0]] < days_of(market.panel)[EX_ROWS[-1]] < max(opened)
    before = parameters.history_sessions - 1
    assert scored == [520, *(before + until - since for since, until in pairwise((*EX_ROWS, 600)))]


@pytest.mark.parametrize("row", [519, 520, 530, 541, 560, 598])
def test_a_session_between_splits_has_the_scores_of_the_whole_history_adjusted_by_hand(row: int) -> None:
    market = split_market()
    parameters, panel, hours = parameters_of(market.panel, *NAMES), market.panel, market.sessions(Market.US_EQUITY)
    dates = tuple(days_of(panel)[row + 1 - parameters.history_sessions : row + 1])
    pair = SessionPair(hours[row], hours[row + 1], dates, dates)
    found = KnownEvidence(market, parameters).read(Market.US_EQUITY, parameters, pair)
    fields = {name: getattr(panel, name).copy() for name in FIELDS}
    for column, ex_row in enumerate(EX_ROWS):
        for name in FIELDS if ex_row <= row else ():
            fields[name][:ex_row, column] *= 2.0 if name == "volume" else 0.5
    whole = score_all(NAMES, replace(panel, **fields))
    place = int(np.searchsorted(found.panel.sessions, panel.sessions[row]))
    for name in NAMES:
        np.testing.assert_array_equal(found.scores[name][place], whole[name][row])


def test_the_bars_of_a_span_are_adjusted_as_they_were_at_its_end() -> None:
    market, smooth = split_market(), seeded_panel(5, 600, 6)
    parameters, days = parameters_of(market.panel, *NAMES), days_of(market.panel)
    unlisted = Instrument(symbol="GONE", sector="sector 0")
    parameters = parameters.model_copy(update={"universe": (*parameters.universe[:4], unlisted)})
    found = universe_panel(market, parameters, days[500], days[545])
    assert (found.symbols, days_of(found)) == (smooth.symbols[:4], days[500:546])
    expected = smooth.close[500:546, :4] * [1.0, 1.0, 2.0, 1.0]
    np.testing.assert_allclose(found.close, expected, rtol=1e-12, err_msg="the third is split later")


def test_a_symbol_that_is_split_twice_is_comparable_across_both() -> None:
    smooth = seeded_panel(5, 600, 2)
    raw, days = unadjusted(unadjusted(smooth, 520, 2.0, slice(1)), 560, 3.0, slice(1)), days_of(smooth)
    market = BarMarket(raw, hours_of(CALENDAR, raw), splits={raw.symbols[0]: {days[520]: 2.0, days[560]: 3.0}})
    parameters, hours = parameters_of(raw, *NAMES), market.sessions(Market.US_EQUITY)
    pair = SessionPair(hours[570], hours[571], tuple(days[571 - parameters.history_sessions : 571]), tuple(days))
    decided_on = KnownEvidence(market, parameters).read(Market.US_EQUITY, parameters, pair).universe
    for found in (decided_on, universe_panel(market, parameters, days[500], days[-1])):
        first = days.index(days_of(found)[0])
        np.testing.assert_allclose(found.close, smooth.close[first : first + len(found.sessions)], rtol=1e-3)


def test_what_could_be_judged_before_a_split_stays_so_after_it() -> None:
    """The matrices from a split on begin with sessions that lack what they look back on."""
    market = split_market()
    days, parameters = days_of(market.panel), parameters_of(market.panel, *NAMES)
    known = KnownEvidence(market, parameters)
    early = days[EX_ROWS[0] + 2 - parameters.history_sessions]
    assert [known.coverage_frac(day) for day in (early, days[530], early)] == [1.0, 1.0, 1.0]


def test_bars_that_have_only_begun_are_too_few_and_not_faulty() -> None:
    panel = seeded_panel(5, 60, 2)
    market = BarMarket(panel, hours_of(CALENDAR, panel))
    parameters, hours = parameters_of(panel, "sma_cross"), market.sessions(Market.US_EQUITY)
    known = KnownEvidence(market, parameters)
    found = known.read(Market.US_EQUITY, parameters, SessionPair(hours[20], hours[21], tuple(panel.days[:21]), tuple(panel.days)))
    assert found.problems.keys() == set(panel.symbols)
    assert known.faulty == {}


def test_no_volatility_close_of_a_later_day_is_handed_out() -> None:
    panel = seeded_panel(5, 60, 2)
    closes = {day: Decimal(20) for day in panel.days}
    market = BarMarket(panel, hours_of(CALENDAR, panel), volatility_closes=closes)
    parameters, hours = parameters_of(panel, "sma_cross"), market.sessions(Market.US_EQUITY)
    pair = SessionPair(hours[54], hours[55], tuple(panel.days[:55]), tuple(panel.days))
    found = KnownEvidence(market, parameters).read(Market.US_EQUITY, parameters, pair)
    assert found.volatility is not None
    assert found.volatility.sessions.tolist() == panel.days[:55]
    assert len(found.volatility.closes) == 55
