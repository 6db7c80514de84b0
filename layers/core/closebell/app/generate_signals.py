"""After the close: bars in, a decision for every symbol and the next session's plans out.

1. Which session just ended, and which comes next (the calendar; the broker's own is asked again before orders are placed).
2. Bars of the window, the volatility index, splits; a symbol whose bars are wrong is skipped and says why.
3. Scores, regime, vote, risk checks, size: pure functions.
4. The inputs and the decisions go to the archive, then plans and their header in one transaction: without the header
   nothing counts, and a second run finds it and does nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from closebell.analysis.regime import regimes
from closebell.analysis.validation import bar_problems
from closebell.app.desk import Desk, load_desk
from closebell.app.runs import RunLog, RunOutcome
from closebell.decision.board import SessionInputs
from closebell.decision.desk_view import DeskView
from closebell.decision.session import SessionDecisions, decide_session
from closebell.model.broker import BrokerSnapshot
from closebell.model.decision import Outcome, PlanAction, PlanSet, Regime
from closebell.model.decision_document import DecisionDocument
from closebell.model.errors import BrokerUnavailable, DataError
from closebell.model.instruments import Market, SessionHours
from closebell.model.operations import NewsItem, RunRecord, Trigger
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Create, Journal
from closebell.ports.market_data import Calendar, MarketData, News, VolatilityIndex, VolatilitySeries
from closebell.ports.operations import Archive
from closebell.strategies import score_all, sessions_needed

CALENDAR_DAYS_A_SESSION = 1.6
"""Enough calendar days for a number of sessions, weekends and holidays included."""

NEWS_SYMBOLS_COUNT_MAX = 20


@dataclass(frozen=True)
class SessionPair:
    """The session just ended and the one to plan for."""

    ended: SessionHours
    following: SessionHours
    window: tuple[date, ...]


@dataclass(frozen=True)
class Evidence:
    """What was read from outside for one session's decisions."""

    panel: BarPanel
    problems: Mapping[str, str]
    volatility: VolatilitySeries | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GenerateSignals:
    """The use case."""

    runs: RunLog
    journal: Journal
    archive: Archive
    data: MarketData
    volatility_index: VolatilityIndex
    news: News
    calendar: Calendar
    code_version: str

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Decide once. Raises BrokerUnavailable (no bars could be read), StoreUnavailable, ConfigurationError."""
        return self.runs.run_once(trigger, lambda: self._generate(trigger))

    def _generate(self, trigger: Trigger) -> RunOutcome:
        desk = load_desk(self.journal)
        market = trigger.market
        if not desk.parameters.instruments(market):
            return RunOutcome(f"the configuration names no {market} instruments")
        pair = session_pair(self.calendar, market, trigger.scheduled_at, desk.parameters.history_sessions)
        if pair is None:
            return RunOutcome("no session today")
        known = self.journal.query("journal", f"PLANSET#{market}", f"{pair.following.session}")
        if known:
            return RunOutcome(f"the plans for {pair.following.session} stand already")
        evidence = self._read(market, desk.parameters, pair)
        regime, decided = decide(evidence, desk, market, pair)
        news = self._headlines(decided, pair.ended.opens_at)
        plan_set = self._keep(market, pair, desk, evidence, regime, decided, news)
        counts = {
            "decisions": len(decided.decisions),
            "plans": len(decided.plans),
            "entries": sum(plan.action is PlanAction.ENTER for plan in decided.plans),
            "skipped": sum(decision.outcome is Outcome.SKIPPED for decision in decided.decisions),
        }
        text = f"{regime.trend} market, {regime.volatility} volatility: {counts['plans']} plans for {pair.following.session}"
        return RunOutcome(text, counts, plan_set.input_sha256)

    def _read(self, market: Market, parameters: ParameterSet, pair: SessionPair) -> Evidence:
        symbols = tuple(instrument.symbol for instrument in parameters.instruments(market))
        asked = tuple(dict.fromkeys((*symbols, parameters.regime_symbol_of(market))))
        first, last = pair.window[0], pair.ended.session
        panel = self.data.daily_bars(asked, market, first, last)
        if not len(panel.sessions):
            raise DataError(
                f"the feed returned no bars at all for {len(asked)} symbols from {first} to {last}: nothing is decided"
            )
        notes = []
        try:
            splits = self.data.split_dates(asked, first, last)
        except BrokerUnavailable as error:
            splits = {}
            notes.append(f"reported splits could not be read, only jumps in the prices tell of one: {error}")
        problems = bar_problems(panel.columns(symbols), last, splits, sessions_needed(parameters.strategies))
        volatility: VolatilitySeries | None = None
        if market is Market.US_EQUITY:
            try:
                volatility = self.volatility_index.closes(last)
            except DataError as error:
                notes.append(f"realised volatility stands in for the VIX: {error}")
        return Evidence(panel, problems, volatility, tuple(notes))

    def _headlines(self, decided: SessionDecisions, since: datetime) -> tuple[NewsItem, ...]:
        symbols = [plan.symbol for plan in decided.plans][:NEWS_SYMBOLS_COUNT_MAX]
        if not symbols:
            return ()
        try:
            return tuple(self.news.headlines(symbols, since))
        except DataError:
            return ()

    def _keep(
        self,
        market: Market,
        pair: SessionPair,
        desk: Desk,
        evidence: Evidence,
        regime: Regime,
        decided: SessionDecisions,
        news: tuple[NewsItem, ...],
    ) -> PlanSet:
        """Archive inputs and decisions, then commit plans and header together."""
        session = pair.ended.session
        fingerprint = input_sha256(evidence, desk)
        place = f"{market}/{session}/{fingerprint[:12]}"
        document = DecisionDocument(
            market=market,
            session=session,
            next_session=pair.following.session,
            as_of=pair.ended.closes_at,
            code_version=self.code_version,
            input_sha256=fingerprint,
            bars_archive=f"inputs/{place}.npz",
            parameters=desk.parameters,
            regime=regime,
            volatility_index_closes=_closes_of(evidence.volatility),
            snapshot=_snapshot(desk),
            positions=tuple(stored.record for stored in desk.positions.values()),
            live_orders=tuple(stored.record for stored in desk.orders.values()),
            is_halted=desk.is_halted,
            sessions_held=sessions_held(desk, pair),
            decisions=decided.decisions,
            news=news,
            notes=evidence.notes,
        )
        content = document.model_dump_json().encode()
        name = f"decisions/{place}-{hashlib.sha256(content).hexdigest()[:12]}.json"
        self.archive.put(document.bars_archive, evidence.panel.to_npz(), "application/octet-stream")
        self.archive.put(name, content, "application/json")
        plan_set = PlanSet(
            market=market,
            session=pair.following.session,
            decided_session=session,
            as_of=pair.ended.closes_at,
            code_version=self.code_version,
            parameters_version_count=desk.parameters.version_count,
            input_sha256=fingerprint,
            plan_ids=tuple(plan.plan_id for plan in decided.plans),
            decisions_count=len(decided.decisions),
            decisions_archive=name,
        )
        self.journal.commit([*(Create(plan) for plan in decided.plans), Create(plan_set)])
        return plan_set


def session_pair(calendar: Calendar, market: Market, at: datetime, history_sessions: int) -> SessionPair | None:
    """The session that has just ended and the next one; None when an equity session did not end on this day."""
    day = market.date_of(at)
    first = day - timedelta(days=int(history_sessions * CALENDAR_DAYS_A_SESSION) + 10)
    sessions = calendar.sessions(market, first, day + timedelta(days=10))
    ended = [hours for hours in sessions if hours.closes_at <= at]
    following = [hours for hours in sessions if hours.closes_at > at]
    if not ended or not following or (market is Market.US_EQUITY and ended[-1].session != day):
        return None
    return SessionPair(ended[-1], following[0], tuple(hours.session for hours in ended[-history_sessions:]))


def decide(evidence: Evidence, desk: Desk, market: Market, pair: SessionPair) -> tuple[Regime, SessionDecisions]:
    """The decision path from evidence to plans: pure, and the same for every caller."""
    parameters = desk.parameters
    index = evidence.panel.columns((parameters.regime_symbol_of(market),)).close[:, 0]
    regime = regimes(evidence.panel.sessions, index, evidence.volatility).at(len(evidence.panel.sessions) - 1)
    universe = evidence.panel.columns(tuple(instrument.symbol for instrument in parameters.instruments(market)))
    snapshot = _snapshot(desk)
    view = DeskView(
        as_of=pair.ended.closes_at if snapshot is None else max(snapshot.as_of, pair.ended.closes_at),
        snapshot=snapshot,
        positions=tuple(stored.record for stored in desk.positions.values()),
        live_orders=tuple(stored.record for stored in desk.orders.values() if not stored.record.state.is_terminal),
        counters=desk.counters_of(market, pair.following.session),
        sessions_held=sessions_held(desk, pair),
        sectors=desk.sectors,
        is_halted=desk.is_halted,
    )
    decided = decide_session(
        SessionInputs(
            panel=universe,
            problems=evidence.problems,
            scores=score_all(parameters.strategies, universe),
            regime=regime,
            desk=view,
            parameters=parameters,
            market=market,
            session=pair.ended.session,
            next_session=pair.following.session,
        )
    )
    return regime, decided


def sessions_held(desk: Desk, pair: SessionPair) -> dict[str, int]:
    """Per position the sessions since the one it was opened in; the opening session itself counts zero."""
    return {
        symbol: sum(session > stored.record.opened_session for session in pair.window)
        for symbol, stored in desk.positions.items()
    }


def input_sha256(evidence: Evidence, desk: Desk) -> str:
    """The fingerprint of what decided: panel, volatility index, problems and configuration."""
    parts = (
        evidence.panel.sha256(),
        repr(sorted(_closes_of(evidence.volatility).items())),
        repr(sorted(evidence.problems.items())),
        desk.parameters.model_dump_json(),
    )
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _closes_of(volatility: VolatilitySeries | None) -> dict[date, float]:
    """The last year of index closes by date."""
    if volatility is None:
        return {}
    days = volatility.sessions[-260:].astype("datetime64[D]").astype(object)
    return dict(zip(days.tolist(), np.asarray(volatility.closes[-260:], dtype=float).tolist(), strict=True))


def _snapshot(desk: Desk) -> BrokerSnapshot | None:
    return desk.snapshot.record if desk.snapshot else None
