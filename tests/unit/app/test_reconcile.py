"""What the books say after each look at the broker, what is protected, sold and told."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from closebell.app.desk import load_desk
from closebell.model.books import RECENT_ACTIVITIES_COUNT, Break, Consequence, Lot, Position, PositionState
from closebell.model.broker import Side
from closebell.model.decision import ExitRule
from closebell.model.instruments import Market
from closebell.model.operations import Priority
from closebell.ports.journal import Create
from tests.unit.app.small_desk import SmallDesk, bought, entry, leave, new_york, positions, trades

D = Decimal
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2018, 10, day) for day in (1, 2, 3, 4))


def test_an_entry_fills_and_is_protected_in_the_reconcile_that_books_the_fill() -> None:
    desk = SmallDesk({"AAA": ["100", "102"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    assert desk.sent() == ["buy 10 AAA accepted"]
    desk.reconcile(TUESDAY, "16:00")
    position = positions(desk)["AAA"]
    assert position.state is PositionState.PROTECTED
    assert (position.quantity_shares, position.average_entry_price_usd) == (D(10), D(102))
    target, stop = list(desk.exchange.floor.orders.orders.values())[1:]
    assert (target.limit_price_usd, stop.stop_price_usd, target.time_in_force) == (D("110.16"), D("98.94"), "gtc")


def test_the_stop_sells_at_the_price_that_went_through_it() -> None:
    """As backtesting.py's test_gh_521: 100, 100, 50: the stop at 97 fills at 50, not at 97."""
    desk = bought(TUESDAY, ["100", "100", "50"])
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    (trade,) = trades(desk)
    assert (trade.exit_rule, trade.exit_price_usd, trade.pnl_usd) == (ExitRule.STOP, D(50), D(-500))
    assert (desk.shares("AAA"), positions(desk), load_desk(desk.memory).orders) == (D(0), {}, {})


def test_the_target_sells_at_its_limit_or_better() -> None:
    desk = bought(TUESDAY, ["100", "100", "109"])
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    (trade,) = trades(desk)
    assert (trade.exit_rule, trade.exit_price_usd) == (ExitRule.TARGET, D(109))


def test_a_planned_exit_cancels_its_stop_and_sells_only_when_the_shares_are_free() -> None:
    desk = bought(TUESDAY, ["100", "100", "101"])
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    assert "sell 10 AAA pending_cancel" in desk.sent()
    assert not [line for line in desk.sent() if line == "sell 10 AAA accepted"], "nothing is sold while the stop may still fill"
    desk.reconcile(WEDNESDAY, "09:05")
    assert desk.sent()[-1] == "sell 10 AAA accepted"
    desk.reconcile(WEDNESDAY, "16:00")
    (trade,) = trades(desk)
    assert (trade.exit_rule, trade.exit_price_usd, desk.shares("AAA")) == (ExitRule.TIME_STOP, D(101), D(0))


def test_an_exit_waits_for_a_slow_cancel() -> None:
    desk = bought(TUESDAY, ["100", "100", "101"])
    desk.exchange.options = type(desk.exchange.options)(cancel_latency_s=900)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.place(WEDNESDAY)
    desk.reconcile(WEDNESDAY, "09:05")
    assert "sell 10 AAA pending_cancel" in desk.sent()
    assert positions(desk)["AAA"].state is PositionState.CLOSING
    desk.reconcile(WEDNESDAY, "09:20")
    assert desk.sent()[-1] == "sell 10 AAA accepted"


def test_forty_eight_phantoms_are_repaired_in_one_run_with_one_alert_and_no_order() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    for number in range(48):
        lot = Lot(activity_id=f"{number}", quantity_shares=D(10), price_usd=D(100), opened_at=new_york(MONDAY, "16:00"))
        phantom = Position(
            symbol=f"S{number:02d}",
            market=Market.US_EQUITY,
            sector="technology",
            state=PositionState.PROTECTED,
            plan_id=f"old-{number}",
            lots=(lot,),
            opened_session=MONDAY,
            stop_loss_frac=D("0.03"),
            take_profit_frac=D("0.08"),
            time_stop_sessions=5,
            minimum_hold_sessions=2,
        )
        desk.memory.commit([Create(phantom)])
    run = desk.reconcile(TUESDAY, "08:55")
    assert (run.counts["breaks"], positions(desk), desk.sent()) == (48, {}, [])
    assert [alert.priority for alert in desk.inbox.alerts] == [Priority.URGENT]
    assert "48 phantom" in desk.inbox.alerts[0].subject
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    assert desk.place(TUESDAY).counts["orders"] == 1, "phantoms must not block new trades"
    desk.reconcile(TUESDAY, "09:05")
    assert len(desk.inbox.alerts) == 1


def test_the_owners_own_position_is_external_and_never_sold() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "80"]})
    desk.exchange.trade_manually("AAA", Side.BUY, D(7))
    desk.reconcile(TUESDAY, "09:05")
    position = positions(desk)["AAA"]
    assert (position.state, position.external_shares, position.lots) == (PositionState.EXTERNAL, D(7), ())
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA", "7"))
    desk.day(WEDNESDAY)
    assert desk.shares("AAA") == 7
    assert len(desk.sent()) == 1, "only the owner's own order"


def test_a_position_list_that_is_not_whole_changes_nothing() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.plan(WEDNESDAY)
    before = positions(desk)
    whole = desk.broker.positions
    desk.broker.positions = list  # the fault: an empty list with HTTP 200
    with pytest.raises(Exception, match="not whole"):
        desk.reconcile(WEDNESDAY, "09:35")
    assert (positions(desk), len(desk.sent())) == (before, 3)
    desk.broker.positions = whole
    assert desk.reconcile(WEDNESDAY, "09:40").counts.get("breaks", 0) == 0


def test_fewer_shares_at_the_broker_are_disputed_and_nothing_is_sold() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.floor.book.take_shares("AAA", D(3))
    desk.exchange.floor.book.cash_usd += 300
    desk.reconcile(WEDNESDAY, "09:35")
    assert positions(desk)["AAA"].state is PositionState.DISPUTED
    found = [item.record for item in desk.memory.query("journal", f"BREAK#{WEDNESDAY}")]
    assert [one.consequence for one in found if isinstance(one, Break)] == [Consequence.FREEZE]
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    orders = len(desk.sent())
    desk.reconcile(WEDNESDAY, "09:40")
    assert len(desk.sent()) == orders


def test_a_loss_of_five_percent_in_a_day_halts() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "70"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA", shares="190"))
    desk.day(TUESDAY)
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    assert load_desk(desk.memory).is_halted
    assert "below the day's start" in [alert.body for alert in desk.inbox.alerts if alert.subject == "The desk is halted"][0]


def test_an_alert_waits_for_the_topic_and_goes_out_once() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    desk.inbox.is_down = True
    desk.exchange.trade_manually("AAA", Side.BUY, D(7))
    desk.reconcile(TUESDAY, "09:05")
    assert (desk.inbox.alerts, len(load_desk(desk.memory).outbox)) == ([], 1)
    desk.inbox.is_down = False
    desk.reconcile(TUESDAY, "09:10")
    desk.reconcile(TUESDAY, "09:15")
    assert len(desk.inbox.alerts) == 1
    assert load_desk(desk.memory).outbox == []


def test_a_week_of_doing_nothing_writes_no_breaks() -> None:
    desk = bought(TUESDAY, ["100"] + ["100"] * 6)
    for offset in range(1, 4):
        day = TUESDAY + timedelta(days=offset)
        desk.plan(day)
        desk.day(day)
    assert not desk.inbox.alerts
    assert desk.shares("AAA") == 10


def test_fills_listed_twice_and_out_of_order_are_booked_once_each() -> None:
    """The owner's three trades, shown last first, then all of them again."""
    desk = SmallDesk({"AAA": ["100", "100"], "BBB": ["50", "50"]})
    for symbol, shares in (("AAA", 3), ("BBB", 2), ("AAA", 4)):
        desk.exchange.trade_manually(symbol, Side.BUY, D(shares))
    listed = desk.broker.activities
    desk.broker.activities = lambda after: [*reversed(listed("")), *listed("")]
    desk.reconcile(TUESDAY, "09:05")
    desk.reconcile(TUESDAY, "09:10")
    assert {symbol: position.external_shares for symbol, position in positions(desk).items()} == {"AAA": D(7), "BBB": D(2)}


def test_a_fill_listed_behind_newer_ones_is_not_booked_again_once_the_cursors_window_has_passed_it() -> None:
    desk = SmallDesk({"AAA": ["100", "100"], "BBB": ["50", "50"]})
    for _ in range(RECENT_ACTIVITIES_COUNT + 1):
        desk.exchange.trade_manually("AAA", Side.BUY, D(1))
    desk.reconcile(TUESDAY, "09:05")
    for _ in range(3):
        desk.exchange.trade_manually("BBB", Side.BUY, D(1))
    listed = desk.broker.activities
    desk.broker.activities = lambda after: [*listed(after)[1:], *listed(after)[:1]]
    assert desk.reconcile(TUESDAY, "09:10").counts["fills"] == 3


def test_a_fill_listed_late_is_booked_when_it_comes() -> None:
    desk = SmallDesk({"AAA": ["100", "100"]})
    for shares in (3, 4):
        desk.exchange.trade_manually("AAA", Side.BUY, D(shares))
    listed = desk.broker.activities
    desk.broker.activities = lambda after: listed("")[1:]
    desk.reconcile(TUESDAY, "09:05")
    desk.broker.activities = listed
    desk.reconcile(TUESDAY, "09:10")
    fills = desk.memory.query("journal", f"FILL#us_equity#{MONDAY}")
    assert len(fills) == 2
    assert positions(desk)["AAA"].external_shares == 7
