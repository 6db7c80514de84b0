"""A decision for every symbol, plans for the next session, and twice is once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.desk import load_desk, read_in_batches
from closebell.app.explain import find_decisions
from closebell.app.generate_signals import session_pair, sessions_held
from closebell.decision.board import SessionInputs
from closebell.decision.session import SessionDecisions, decide_session
from closebell.model.decision import Decision, Outcome, PlanSet, TradePlan
from closebell.model.errors import BrokerUnavailable, DataError
from closebell.model.instruments import Market
from closebell.model.operations import RunState
from closebell.ports.journal import Change, Create
from closebell.reports.explanation import explain_decision
from tests.unit.app.evening import DECIDED, SYMBOLS, Evening
from tests.unit.decision.desks import position

NEXT = date(2018, 10, 2)


def decided(evening: Evening) -> dict[str, Decision]:
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, None)
    return {decision.symbol: decision for decision in document.decisions}


def plans(evening: Evening, session: date = NEXT) -> list[TradePlan]:
    found = evening.journal.query("journal", f"PLAN#us_equity#{session}")
    return [item.record for item in found if isinstance(item.record, TradePlan)]


def test_every_symbol_gets_a_decision_and_the_risers_are_planned() -> None:
    evening = Evening()
    run = evening.generate_signals()(evening.trigger("16:20"))
    assert set(decided(evening)) == set(SYMBOLS)
    assert {plan.symbol for plan in plans(evening)} <= {"UPA", "UPB", "UPC"}
    assert plans(evening), "something rising must be bought, or nothing below is tested"
    assert run.counts["decisions"] == 6
    assert all(plan.session == NEXT and plan.decided_session == DECIDED for plan in plans(evening))


def test_deciding_twice_changes_nothing() -> None:
    evening = Evening()
    evening.generate_signals()(evening.trigger("16:20"))
    before = plans(evening)
    again = evening.generate_signals()(evening.trigger("16:21"))
    assert "stand already" in again.outcome
    assert plans(evening) == before


def test_a_run_killed_between_archive_and_journal_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    evening = Evening()
    whole = evening.journal.commit
    calls = []

    def killed(changes: Sequence[Change]) -> None:
        calls.append(changes)
        if len(calls) == 2:  # the first is the run record
            raise KeyboardInterrupt
        whole(changes)

    monkeypatch.setattr(evening.journal, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        evening.generate_signals()(evening.trigger("16:20"))
    assert plans(evening) == []
    run = evening.generate_signals()(evening.trigger("16:20"))
    assert (run.state, run.attempts_count) == (RunState.COMPLETED, 2)
    assert plans(evening)


def test_more_plans_than_one_transaction_takes_are_written_by_a_run_that_is_killed_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evening = Evening()
    decides = decide_session

    def many(inputs: SessionInputs) -> SessionDecisions:
        made = decides(inputs)
        first = made.plans[0]
        ids = [f"{first.plan_id}-{number:03d}" for number in range(150)]
        return replace(made, plans=tuple(first.model_copy(update={"plan_id": name}) for name in ids))

    monkeypatch.setattr("closebell.app.generate_signals.decide_session", many)
    whole = evening.journal.commit

    def killed(changes: Sequence[Change]) -> None:
        if any(isinstance(change, Create) and isinstance(change.record, PlanSet) for change in changes):
            raise KeyboardInterrupt
        whole(changes)

    monkeypatch.setattr(evening.journal, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        evening.generate_signals()(evening.trigger("16:20"))
    written = len(plans(evening))
    monkeypatch.setattr(evening.journal, "commit", whole)
    evening.generate_signals()(evening.trigger("16:20"))
    assert 0 < written < len(plans(evening)) == 150
    assert len(read_in_batches(evening.journal, [plan.key for plan in plans(evening)], TradePlan)) == 150


@pytest.mark.parametrize(
    ("field", "row", "value", "words"),
    [("close", -1, float("nan"), "2018-10-01"), ("close", -3, -5.0, "negative"), ("close", -5, 1e6, "")],
    ids=["nan", "negative", "jump"],
)
def test_a_symbol_with_a_wrong_bar_is_skipped_and_says_why(field: str, row: int, value: float, words: str) -> None:
    evening = Evening()
    evening.spoil("UPA", field, row, value)
    evening.generate_signals()(evening.trigger("16:20"))
    decision = decided(evening)["UPA"]
    assert decision.outcome is Outcome.SKIPPED
    assert words in decision.reason
    assert decided(evening)["UPB"].outcome is not Outcome.SKIPPED


def test_a_symbol_that_vanished_is_skipped_and_the_others_go_on() -> None:
    evening = Evening(universe=(*SYMBOLS, "GONE"))
    run = evening.generate_signals()(evening.trigger("16:20"))
    assert (run.counts["decisions"], run.counts["skipped"]) == (7, 1)
    assert decided(evening)["GONE"].outcome is Outcome.SKIPPED
    assert plans(evening)


def test_no_bars_at_all_is_no_plan_and_no_crash() -> None:
    evening = Evening()
    evening.data.panel = evening.data.panel.rows(slice(0, 0))
    with pytest.raises(DataError, match="no bars"):
        evening.generate_signals()(evening.trigger("16:20"))
    assert plans(evening) == []
    assert [alert.subject for alert in evening.inbox.alerts] == ["generate_signals failed"]


def test_one_bar_is_too_few_and_every_symbol_says_so() -> None:
    evening = Evening()
    evening.data.panel = evening.data.panel.rows(slice(-1, None))
    evening.generate_signals()(evening.trigger("16:20"))
    assert {decision.outcome for decision in decided(evening).values()} == {Outcome.SKIPPED}
    assert plans(evening) == []


def test_without_a_reading_of_the_broker_nothing_is_entered_and_the_check_is_named() -> None:
    evening = Evening(reads_broker=False)
    evening.generate_signals()(evening.trigger("16:20"))
    assert plans(evening) == []
    denied = [decision for decision in decided(evening).values() if decision.outcome is Outcome.DENIED]
    assert denied
    assert all(decision.binding_check for decision in denied)


def test_a_holiday_decides_nothing_and_a_half_day_decides() -> None:
    assert (
        Evening(date(2018, 11, 21)).generate_signals()(Evening().trigger("16:20", date(2018, 11, 22))).outcome
        == "no session today"
    )
    half_day = Evening(date(2018, 11, 23))
    half_day.generate_signals()(half_day.trigger("16:20"))
    header = half_day.journal.query("journal", "PLANSET#us_equity")[0].record
    assert isinstance(header, PlanSet)
    assert header.as_of == datetime(2018, 11, 23, 18, 0, tzinfo=UTC), "a half-day closes at 13:00 New York"
    assert header.session == date(2018, 11, 26)


@pytest.mark.parametrize("opened", [date(2018, 9, 28), date(2017, 7, 21), date(2010, 3, 1)])
def test_sessions_held_are_counted_beyond_what_a_decision_reads(opened: date) -> None:
    """A time stop of two years was never due: the count ended with the bars."""
    evening, calendar = Evening(), ExchangeCalendar()
    evening.journal.commit([Create(position("UPA", opened_session=opened))])
    desk = load_desk(evening.journal)
    pair = session_pair(calendar, Market.US_EQUITY, evening.trigger("16:20").scheduled_at, desk)
    assert pair is not None
    assert len(pair.window) == desk.parameters.history_sessions
    assert sessions_held(desk, pair) == {"UPA": len(calendar.sessions(Market.US_EQUITY, opened, DECIDED)) - 1}


def test_without_the_vix_realised_volatility_stands_in_and_the_document_says_so() -> None:
    evening = Evening()
    evening.data.vix_is_down = True
    evening.generate_signals()(evening.trigger("16:20"))
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, DECIDED)
    assert document.regime.volatility_source == "realised"
    assert any("realised volatility stands in" in note for note in document.notes)


def test_without_the_list_of_splits_it_decides_and_the_document_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    evening = Evening()

    def unreadable(*asked: object) -> dict[str, dict[date, float]]:
        raise BrokerUnavailable("HTTP 500")

    monkeypatch.setattr(evening.data, "split_dates", unreadable)
    evening.generate_signals()(evening.trigger("16:20"))
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, DECIDED)
    assert plans(evening)
    assert any("splits could not be read" in note for note in document.notes)


def test_explain_shows_votes_checks_and_size() -> None:
    evening = Evening()
    evening.generate_signals()(evening.trigger("16:20"))
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, DECIDED)
    text = explain_decision(document, plans(evening)[0].symbol)
    assert "ENTER" in text
    for name in ("sma_cross", "rsi", "macd", "mean_reversion", "momentum"):
        assert name in text
    assert "limit" in text
    assert "at risk" in text


def test_the_panel_in_the_archive_is_the_one_that_was_decided_on() -> None:
    evening = Evening()
    evening.generate_signals()(evening.trigger("16:20"))
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, DECIDED)
    content = evening.archive.get(document.bars_archive)
    assert content is not None
    kept = type(evening.data.panel).from_npz(content)
    assert np.array_equal(kept.close, evening.data.panel.close)
