"""What happens at the broker after a fill: it is taken back, or its price is changed, or money comes without a trade."""

from datetime import date
from decimal import Decimal

import pytest

from closebell.app.desk import load_desk
from closebell.model.books import PositionState
from closebell.model.broker import Side
from closebell.model.operations import Priority
from tests.unit.app.small_desk import SmallDesk, bought, entry, positions, trades

D = Decimal
TUESDAY, WEDNESDAY = date(2018, 10, 2), date(2018, 10, 3)


def first_fill(desk: SmallDesk) -> str:
    return next(line.activity_id for line in desk.exchange.floor.book.activities if line.code == "FILL")


def told(desk: SmallDesk) -> list[tuple[str, str]]:
    return [(alert.subject, alert.priority) for alert in desk.inbox.alerts]


def test_a_busted_buy_is_told_and_its_position_is_no_longer_ours() -> None:
    desk = bought(TUESDAY, ["100", "100", "90", "90"])
    desk.exchange.bust_fill(first_fill(desk))
    desk.reconcile(TUESDAY, "16:15")
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    assert desk.shares("AAA") == 0
    assert positions(desk) == {}
    assert trades(desk) == []
    assert told(desk) == [("The broker booked TRADE_BUST in AAA", Priority.URGENT)]
    assert desk.broker.account().cash_usd == 100_000


def test_busts_among_the_owners_trades_leave_both_books_equal() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.day(TUESDAY)
    desk.exchange.trade_manually("AAA", Side.BUY, D(4))
    desk.reconcile(TUESDAY, "16:15")
    manual = [line.activity_id for line in desk.exchange.floor.book.activities if line.code == "FILL"][-1]
    desk.exchange.bust_fill(manual)
    desk.exchange.bust_fill(first_fill(desk))
    desk.exchange.trade_manually("AAA", Side.BUY, D(7))
    desk.reconcile(TUESDAY, "16:20")
    held = positions(desk)["AAA"]
    assert held.quantity_shares + held.external_shares == desk.shares("AAA") == 7
    assert not load_desk(desk.memory).is_halted


def test_a_corrected_price_is_told_and_moves_no_shares() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    before = positions(desk)["AAA"].lots
    desk.exchange.correct_fill(first_fill(desk), D("101"))
    desk.reconcile(TUESDAY, "16:15")
    assert told(desk) == [("The broker booked TRADE_CORRECT in AAA", Priority.WARNING)]
    assert positions(desk)["AAA"].lots == before
    assert positions(desk)["AAA"].state is PositionState.PROTECTED


@pytest.mark.parametrize("event", ["dividend", "deposit"])
def test_income_and_deposits_are_routine_and_only_the_deposit_is_left_out_of_the_days_result(event: str) -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    if event == "dividend":
        desk.exchange.pay_dividend("AAA", D("0.5"))
    else:
        desk.exchange.transfer(D(5))
    desk.reconcile(TUESDAY, "16:15")
    snapshot = load_desk(desk.memory).snapshot
    assert snapshot is not None
    assert snapshot.record.account.cash_usd == 99_005
    assert snapshot.record.transfers_usd == (0 if event == "dividend" else 5)
    assert told(desk) == []
