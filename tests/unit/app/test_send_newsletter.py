"""One mail a session, or a clear refusal."""

from datetime import UTC, date, datetime

import pytest

from closebell.app.explain import find_decisions
from closebell.model.decision import Decision, TradePlan
from closebell.model.errors import RunRefused, StoreUnavailable
from closebell.model.instruments import Market
from closebell.model.operations import NewsItem
from tests.unit.app.evening import Evening

NEXT = date(2018, 10, 2)


def decided(evening: Evening) -> dict[str, Decision]:
    document = find_decisions(evening.journal, evening.archive, Market.US_EQUITY, None)
    return {decision.symbol: decision for decision in document.decisions}


def plans(evening: Evening, session: date = NEXT) -> list[TradePlan]:
    found = evening.journal.query("journal", f"PLAN#us_equity#{session}")
    return [item.record for item in found if isinstance(item.record, TradePlan)]


def test_the_newsletter_is_sent_once_and_archived() -> None:
    evening = Evening()
    evening.data.news = [
        NewsItem(
            news_id="1", headline="<script>alert(1)</script>", source="x", url="javascript:alert(1)", symbols=("UPA",),
            published_at=datetime(2018, 10, 1, 12, tzinfo=UTC),
        )
    ]  # fmt: skip
    evening.generate_signals()(evening.trigger("16:20"))
    evening.send_newsletter()(evening.trigger("16:45"))
    evening.send_newsletter()(evening.trigger("16:46"))
    (mail,) = evening.postbox.mails
    assert plans(evening)[0].symbol in mail.subject
    assert "<script>" not in mail.html
    assert evening.archive.get("newsletters/us_equity/2018-10-01/newsletter.html")


def test_a_newsletter_that_could_not_leave_is_sent_by_the_next_run_as_it_was_written() -> None:
    evening = Evening()
    evening.generate_signals()(evening.trigger("16:20"))
    evening.postbox.is_down = True
    with pytest.raises(StoreUnavailable):
        evening.send_newsletter()(evening.trigger("16:45"))
    evening.postbox.is_down = False
    evening.send_newsletter()(evening.trigger("16:45"))
    assert len(evening.postbox.mails) == 1


def test_a_newsletter_without_decisions_is_refused_and_told() -> None:
    evening = Evening()
    with pytest.raises(RunRefused, match="no decisions for 2018-10-01"):
        evening.send_newsletter()(evening.trigger("16:45"))
    assert [alert.subject for alert in evening.inbox.alerts] == ["send_newsletter refused to run"]
