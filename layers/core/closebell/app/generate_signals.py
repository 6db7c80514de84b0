"""After the close: bars in, a decision for every symbol and the next session's plans out.

1. Which session just ended, and which comes next (the calendar; the broker's own is asked again before orders are placed).
2. Bars of the window, the volatility index, splits; a symbol whose bars are wrong is skipped and says why.
3. Scores, regime, vote, risk checks, size: pure functions.
4. The inputs and the decisions go to the archive, then plans and their header in one transaction: without the header
   nothing counts, and a second run finds it and does nothing.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import attrgetter

from closebell.app.desk import Desk, load_desk, read_in_batches
from closebell.app.evidence import Evidence, EvidenceReader, SessionPair
from closebell.app.runs import RunLog, RunOutcome
from closebell.decision.board import SessionInputs
from closebell.decision.desk_view import DeskView
from closebell.decision.session import SessionDecisions, decide_session
from closebell.model.decision import Outcome, PlanAction, PlanSet, TradePlan
from closebell.model.decision_document import DecisionDocument
from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.operations import NewsItem, RunRecord, Trigger
from closebell.ports.journal import CHANGES_MAX, Change, Create, Journal, Replace
from closebell.ports.market_data import Calendar, News
from closebell.ports.operations import Archive

CALENDAR_DAYS_A_SESSION = 1.6
"""Enough calendar days for a number of sessions, weekends and holidays included."""

NEWS_SYMBOLS_COUNT_MAX = 20


@dataclass(frozen=True)
class GenerateSignals:
    """The use case."""

    runs: RunLog
    journal: Journal
    archive: Archive
    evidence: EvidenceReader
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
        pair = session_pair(self.calendar, market, trigger.scheduled_at, desk)
        if pair is None:
            return RunOutcome("no session today")
        known = self.journal.query("journal", f"PLANSET#{market}", f"{pair.following.session}")
        if known:
            return RunOutcome(f"the plans for {pair.following.session} stand already")
        evidence = self.evidence.read(market, desk.parameters, pair)
        inputs = session_inputs(evidence, desk, market, pair)
        decided = decide_session(inputs)
        plan_set = self._keep(inputs, pair, desk, evidence, decided)
        counts = {
            "decisions": len(decided.decisions),
            "plans": len(decided.plans),
            "entries": sum(plan.action is PlanAction.ENTER for plan in decided.plans),
            "skipped": sum(decision.outcome is Outcome.SKIPPED for decision in decided.decisions),
        }
        regime = evidence.regime
        text = f"{regime.trend} market, {regime.volatility} volatility: {counts['plans']} plans for {pair.following.session}"
        return RunOutcome(text, counts, plan_set.input_sha256)

    def _headlines(self, plans: Sequence[TradePlan], since: datetime) -> tuple[NewsItem, ...]:
        symbols = [plan.symbol for plan in plans][:NEWS_SYMBOLS_COUNT_MAX]
        if not symbols:
            return ()
        try:
            return tuple(self.news.headlines(symbols, since))
        except DataError:
            return ()

    def _keep(
        self, inputs: SessionInputs, pair: SessionPair, desk: Desk, evidence: Evidence, decided: SessionDecisions
    ) -> PlanSet:
        """Archive inputs and decisions, then commit plans and header together."""
        market, fingerprint = inputs.market, evidence.sha256(desk.parameters)
        place = archive_place(market, inputs.session, fingerprint)
        document = DecisionDocument(
            market=market,
            session=inputs.session,
            next_session=inputs.next_session,
            as_of=pair.ended.closes_at,
            code_version=self.code_version,
            input_sha256=fingerprint,
            bars_archive=f"inputs/{place}.npz",
            parameters=desk.parameters,
            regime=evidence.regime,
            volatility_index_closes=evidence.volatility_closes,
            reported_splits={symbol: dict(ratios) for symbol, ratios in evidence.splits.items()},
            snapshot=inputs.desk.snapshot,
            positions=inputs.desk.positions,
            live_orders=tuple(stored.record for stored in desk.orders.values()),
            counters=inputs.desk.counters,
            is_halted=desk.is_halted,
            sessions_held=dict(inputs.desk.sessions_held),
            decisions=decided.decisions,
            news=self._headlines(decided.plans, pair.ended.opens_at),
            notes=evidence.notes,
        )
        content = document.model_dump_json().encode()
        name = f"decisions/{place}-{hashlib.sha256(content).hexdigest()[:12]}.json"
        self.archive.put(document.bars_archive, evidence.panel.to_npz(), "application/octet-stream")
        self.archive.put(name, content, "application/json")
        plan_set = PlanSet(
            market=market,
            session=inputs.next_session,
            decided_session=inputs.session,
            as_of=pair.ended.closes_at,
            code_version=self.code_version,
            parameters_version_count=desk.parameters.version_count,
            input_sha256=fingerprint,
            plan_ids=tuple(plan.plan_id for plan in decided.plans),
            decisions_count=len(decided.decisions),
            decisions_archive=name,
        )
        *batches, last = self._batches(decided.plans)
        for batch in batches:
            self.journal.commit(batch)
        self.journal.commit([*last, Create(plan_set)])
        return plan_set

    def _batches(self, plans: Sequence[TradePlan]) -> list[list[Change]]:
        """The plans as commits, with room for the header in the last. More than one, and a run that was killed may have written
        some: those are written over, as nothing counts without a header."""
        if len(plans) < CHANGES_MAX:
            return [[Create(plan) for plan in plans]]
        written = read_in_batches(self.journal, [plan.key for plan in plans], TradePlan)
        versions = {stored.record.key: stored.version for stored in written}
        changes: list[Change] = [Replace(plan, versions[plan.key]) if plan.key in versions else Create(plan) for plan in plans]
        size = CHANGES_MAX - 1
        return [changes[start : start + size] for start in range(0, len(changes), size)]


def archive_place(market: Market, session: date, fingerprint: str) -> str:
    """Where a session's documents lie in the archive, below the folder of their kind."""
    return f"{market}/{session}/{fingerprint[:12]}"


def session_pair(calendar: Calendar, market: Market, at: datetime, desk: Desk) -> SessionPair | None:
    """The session that has just ended and the next one; None when an equity session did not end on this day."""
    day, history_sessions = market.date_of(at), desk.parameters.history_sessions
    first = day - timedelta(days=int(history_sessions * CALENDAR_DAYS_A_SESSION) + 10)
    oldest = min((stored.record.opened_session for stored in desk.positions.values()), default=first)
    sessions = calendar.sessions(market, min(first, oldest), day + timedelta(days=10))
    ended_count = bisect_right(sessions, at, key=attrgetter("closes_at"))
    ended, following = sessions[:ended_count], sessions[ended_count:]
    if not ended or not following or (market is Market.US_EQUITY and ended[-1].session != day):
        return None
    dates = tuple(hours.session for hours in ended)
    return SessionPair(ended[-1], following[0], dates[-history_sessions:], dates)


def session_inputs(evidence: Evidence, desk: Desk, market: Market, pair: SessionPair) -> SessionInputs:
    """All that the decision after a session depends on."""
    snapshot = desk.snapshot.record if desk.snapshot else None
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
    return SessionInputs(
        panel=evidence.universe,
        problems=evidence.problems,
        scores=evidence.scores,
        regime=evidence.regime,
        desk=view,
        parameters=desk.parameters,
        market=market,
        session=pair.ended.session,
        next_session=pair.following.session,
        ground=evidence.ground,
    )


def sessions_held(desk: Desk, pair: SessionPair) -> dict[str, int]:
    """Per position the sessions since the one it was opened in; the opening session itself counts zero.

    Bars of fewer sessions may be read: a position may be held for longer than a decision looks back.
    """
    ended_count = bisect_right(pair.calendar, pair.ended.session)
    return {
        symbol: ended_count - bisect_right(pair.calendar, stored.record.opened_session)
        for symbol, stored in desk.positions.items()
    }
