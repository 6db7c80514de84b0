"""Equity is written once, from a reading that is fresh."""

from datetime import date

import pytest

from closebell.app.explain import find_decisions
from closebell.model.books import EquitySnapshot
from closebell.model.decision import Decision, TradePlan
from closebell.model.errors import RunRefused
from closebell.model.instruments import Market
from tests.unit.app.evening import Evening

NEXT = date(2018, 10, 2)


def decided(evening: Evening) -> dict[str, Decision]:
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, None)
    return {decision.symbol: decision for decision in document.decisions}


def plans(evening: Evening, session: date = NEXT) -> list[TradePlan]:
    found = evening.journal.query("journal", f"PLAN#us_equity#{session}")
    return [item.record for item in found if isinstance(item.record, TradePlan)]


def test_the_review_writes_one_equity_record_and_refuses_old_news() -> None:
    evening = Evening()
    evening.review_performance()(evening.trigger("16:05"))
    evening.review_performance()(evening.trigger("16:06"))
    (stored,) = evening.journal.query("journal", "EQUITY#us_equity")
    assert isinstance(stored.record, EquitySnapshot)
    assert stored.record.equity_usd == 100_000
    with pytest.raises(RunRefused, match="reconcile has to run first"):
        evening.review_performance()(evening.trigger("16:05", NEXT))
