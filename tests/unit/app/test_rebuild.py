"""Books rebuilt from the broker alone: the same quantities, and a desk that goes on as if nothing had been lost."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest

from closebell.app.control import confirm_resume, halt_desk, request_resume, store_parameters
from closebell.app.desk import load_desk
from closebell.app.rebuild import rebuild_desk
from closebell.model.books import Position, PositionState, Trade
from closebell.model.broker import Side
from closebell.model.errors import ConfigurationError, RunRefused
from closebell.model.record import Record
from closebell.ports.journal import Change, Create, Journal, Remove
from closebell.rehearsal.desk_days import DeskDays, Rehearsal
from closebell.simulation.exchange.exchange import Replacement
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.memory_journal import MemoryJournal
from tests.unit.app.small_desk import SmallDesk, bought, entry, leave, new_york, positions, trades

D = Decimal
TUESDAY, WEDNESDAY, THURSDAY = (date(2018, 10, day) for day in (2, 3, 4))


def emptied(desk: SmallDesk) -> MemoryJournal:
    """New tables with nothing but the configuration and the halt."""
    journal = MemoryJournal()
    store_parameters(journal, desk.parameters)
    halt_desk(journal, "the tables are lost", "owner", desk.exchange.now)
    desk.memory = desk.journal = journal
    return journal


def resume(desk: SmallDesk) -> None:
    request_resume(desk.memory, "code", desk.exchange.now)
    confirm_resume(desk.memory, "code", "owner", desk.exchange.now)


def held(journal: Journal) -> dict[str, tuple[Decimal, Decimal]]:
    """Per symbol what is ours and what is the owner's."""
    return {
        symbol: (stored.record.quantity_shares, stored.record.external_shares)
        for symbol, stored in load_desk(journal).positions.items()
    }


@pytest.mark.parametrize("seed", range(6))
def test_books_of_many_days_rebuilt_into_empty_tables_have_the_same_quantities(seed: int) -> None:
    faults = frozenset({"owner_buys", "owner_sells", "owner_cancels_stop", "slow_cancel", "deposit", "partial_then_cancel"})
    days = DeskDays(Rehearsal(seed, 8, faults))
    assert not days.play()
    journal = MemoryJournal()
    store_parameters(journal, days.parameters)
    halt_desk(journal, "the tables are lost", "owner", days.exchange.now)
    books = rebuild_desk(SimulatedBroker(days.exchange), journal, replace=False)
    assert not books.breaks
    whole = {position.symbol: position for position in days.raw.all_of(Position)}
    assert held(journal) == {symbol: (one.quantity_shares, one.external_shares) for symbol, one in whole.items()}
    assert sorted(trade.pnl_usd for trade in books.trades) == sorted(trade.pnl_usd for trade in days.raw.all_of(Trade))
    assert {order.client_order_id for order in books.orders} == {
        order.client_order_id for order in SimulatedBroker(days.exchange).open_orders()
    }


def test_after_a_rebuild_the_desk_goes_on_and_the_resting_stop_is_its_own() -> None:
    desk = bought(TUESDAY, ["100", "100", "100", "90"])
    desk.exchange.trade_manually("AAA", Side.BUY, D(3))
    journal = emptied(desk)
    rebuild_desk(desk.broker, journal, replace=False)
    resume(desk)
    assert held(journal) == {"AAA": (D(10), D(3))}
    desk.plan(WEDNESDAY)
    desk.day(WEDNESDAY)
    assert not load_desk(journal).is_halted
    assert positions(desk)["AAA"].state is PositionState.PROTECTED
    assert desk.sent().count("sell 10 AAA new") + desk.sent().count("sell 10 AAA accepted") == 1
    desk.plan(THURSDAY)
    desk.day(THURSDAY)
    assert [trade.exit_rule for trade in trades(desk)] == ["stop"]
    assert held(journal) == {"AAA": (D(0), D(3))}


def test_an_entry_that_rests_while_the_tables_are_rebuilt_is_ours_when_it_fills() -> None:
    desk = SmallDesk({"AAA": ["100", "100", "100"]})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    journal = emptied(desk)
    books = rebuild_desk(desk.broker, journal, replace=False)
    assert [order.leg for order in books.orders] == ["entry"]
    resume(desk)
    for at in ("09:05", "16:00", "16:05", "16:10"):
        desk.reconcile(TUESDAY, at)
    assert held(journal) == {"AAA": (D(10), D(0))}
    assert positions(desk)["AAA"].stop_loss_frac == desk.parameters.exits.stop_loss_frac
    assert positions(desk)["AAA"].state is PositionState.PROTECTED


def test_an_order_that_the_owner_replaced_stays_ours_in_a_rebuild() -> None:
    desk = bought(TUESDAY, ["100", "100", "112", "112"])
    desk.plan(WEDNESDAY)
    desk.place(WEDNESDAY)
    desk.exchange.advance(new_york(WEDNESDAY, "09:40"))
    head = next(order for order in desk.exchange.floor.orders.all_live() if order.parent is None)
    desk.exchange.replace(head.venue_order_id, Replacement(limit_price_usd=D(111)))
    desk.exchange.advance(new_york(WEDNESDAY, "15:00"))
    journal = emptied(desk)
    rebuild_desk(desk.broker, journal, replace=False)
    resume(desk)
    for at in ("15:05", "16:05", "16:10"):
        desk.reconcile(WEDNESDAY, at)
    assert held(journal) == {}
    assert [(trade.exit_rule, trade.exit_price_usd) for trade in trades(desk)] == [("target", D(112))]
    assert not load_desk(journal).is_halted


def test_with_the_journal_still_there_the_true_plan_comes_back() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    before = positions(desk)["AAA"]
    halt_desk(desk.memory, "the books look odd", "owner", desk.exchange.now)
    rebuild_desk(desk.broker, desk.memory, replace=True)
    after = positions(desk)["AAA"]
    assert (after.plan_id, after.strategies, after.lots) == (before.plan_id, before.strategies, before.lots)
    resume(desk)
    desk.plan(WEDNESDAY, leave(WEDNESDAY, "AAA"))
    desk.day(WEDNESDAY)
    assert desk.shares("AAA") == 0
    assert len(trades(desk)) == 1


class Mortal(MemoryJournal):
    """Dies at its n-th write from when `writes_left_count` is set."""

    writes_left_count = 1_000

    def commit(self, changes: Sequence[Change]) -> None:
        self.writes_left_count -= 1
        if self.writes_left_count < 0:
            raise KeyboardInterrupt
        super().commit(changes)


@pytest.mark.parametrize("writes_count", range(4))
def test_a_rebuild_killed_at_any_write_is_finished_by_the_next(writes_count: int) -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    journal = Mortal()
    store_parameters(journal, desk.parameters)
    halt_desk(journal, "the tables are lost", "owner", desk.exchange.now)
    journal.writes_left_count = writes_count
    with suppress(KeyboardInterrupt):
        rebuild_desk(desk.broker, journal, replace=True)
    journal.writes_left_count = 1_000
    rebuild_desk(desk.broker, journal, replace=True)
    assert held(journal) == {"AAA": (D(10), D(0))}
    assert len(load_desk(journal).orders) == 1


def test_a_rebuild_refuses_what_it_must() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    with pytest.raises(RunRefused, match="not halted"):
        rebuild_desk(desk.broker, desk.memory, replace=True)
    halt_desk(desk.memory, "x", "owner", desk.exchange.now)
    with pytest.raises(RunRefused, match="1 positions, 1 live orders"):
        rebuild_desk(desk.broker, desk.memory, replace=False)
    nothing = MemoryJournal()
    halt_desk(nothing, "x", "owner", desk.exchange.now)
    with pytest.raises(ConfigurationError, match="configure"):
        rebuild_desk(desk.broker, nothing, replace=False)


def test_what_fills_do_not_explain_is_named_and_left_to_the_owner() -> None:
    desk = bought(TUESDAY, ["100", "100", "100"])
    desk.exchange.floor.book.holdings["AAA"].shares += 4
    journal = emptied(desk)
    books = rebuild_desk(desk.broker, journal, replace=False)
    assert [(found.symbol, found.ours_shares, found.theirs_shares, found.consequence) for found in books.breaks] == [
        ("AAA", D(10), D(14), "external")
    ]
    assert held(journal) == {"AAA": (D(10), D(4))}


def restore(journal: MemoryJournal, backup: list[Record]) -> None:
    """Put the book table back to what it was; the journal table stays."""
    journal.commit([Remove(stored.record.key, stored.version) for stored in journal.query("book", "DESK")])
    journal.commit([Create(record) for record in backup])


@pytest.mark.parametrize("restored_after", ["09:05", "16:05"])
def test_a_book_table_restored_from_an_earlier_hour_heals_itself(restored_after: str) -> None:
    """The journal is whole, positions and pointers are of yesterday: fills are projected again and counted once."""
    desk = SmallDesk({"AAA": ["100", "100", "100", "90"], "BBB": ["100"] * 4})
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    for at in ("09:05", "16:00", "16:05", "16:10"):
        desk.reconcile(TUESDAY, at)
        if at == restored_after:
            backup = [stored.record for stored in desk.memory.query("book", "DESK")]
    desk.plan(WEDNESDAY, entry(WEDNESDAY, "BBB"))
    desk.day(WEDNESDAY)
    whole = held(desk.memory)
    restore(desk.memory, backup)
    desk.reconcile(WEDNESDAY, "16:15")
    desk.reconcile(WEDNESDAY, "16:20")
    assert held(desk.memory) == whole == {"AAA": (D(10), D(0)), "BBB": (D(10), D(0))}
    assert not load_desk(desk.memory).is_halted
    assert {order.record.filled_quantity_shares for order in load_desk(desk.memory).orders.values()} == {D(0)}
    desk.plan(THURSDAY)
    desk.day(THURSDAY)
    assert [(trade.symbol, trade.exit_rule) for trade in trades(desk)] == [("AAA", "stop")]
    assert held(desk.memory) == {"BBB": (D(10), D(0))}
