"""What did not run is named, once."""

from dataclasses import replace
from datetime import date

from closebell.app.explain import find_decisions
from closebell.app.runs import RunOutcome
from closebell.model.decision import Decision, TradePlan
from closebell.model.instruments import Market
from tests.unit.app.evening import Evening

NEXT = date(2018, 10, 2)


def decided(evening: Evening) -> dict[str, Decision]:
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, None)
    return {decision.symbol: decision for decision in document.decisions}


def plans(evening: Evening, session: date = NEXT) -> list[TradePlan]:
    found = evening.journal.query("journal", f"PLAN#us_equity#{session}")
    return [item.record for item in found if isinstance(item.record, TradePlan)]


def test_the_watchdog_names_what_did_not_run() -> None:
    evening = Evening()
    watch = evening.watch_schedule()
    watch(evening.trigger("09:00"))
    evening.generate_signals()(evening.trigger("16:20"))
    watch(evening.trigger("17:15"))
    subjects = sorted(alert.subject for alert in evening.inbox.alerts)
    assert subjects == ["reconcile did not run", "review_performance did not run", "send_newsletter did not run"]
    watch(evening.trigger("17:30"))
    assert len(evening.inbox.alerts) == 3, "each is told once"


def test_the_watchdog_says_nothing_of_the_time_before_it_was_there_or_of_holidays() -> None:
    evening = Evening()
    evening.watch_schedule()(evening.trigger("17:00"))
    evening.watch_schedule()(evening.trigger("17:15", date(2018, 11, 22)))
    assert evening.inbox.alerts == []


def test_a_reconcile_that_does_not_run_for_a_quarter_of_an_hour_is_named() -> None:
    evening = Evening()
    watch = evening.watch_schedule()
    watch(evening.trigger("09:00"))
    log = evening.watch_schedule().runs
    reconcile = replace(log, function="reconcile")
    for at in ("09:05", "09:10", "09:15", "09:20", "09:25"):
        reconcile.run_once(evening.trigger(at), lambda: RunOutcome("done"))
    for at in ("09:15", "09:30"):
        watch(evening.trigger(at))
    assert not [alert for alert in evening.inbox.alerts if "reconcile" in alert.subject]
    watch(evening.trigger("09:45"))
    assert [alert.subject for alert in evening.inbox.alerts if "reconcile" in alert.subject] == ["reconcile did not run"]


def test_nobody_expects_reconcile_on_a_holiday() -> None:
    evening = Evening()
    watch = evening.watch_schedule()
    watch(evening.trigger("17:00", date(2018, 11, 21)))
    for at in ("09:30", "12:00"):
        watch(evening.trigger(at, date(2018, 11, 22)))
    assert not [alert for alert in evening.inbox.alerts if "reconcile" in alert.subject]
