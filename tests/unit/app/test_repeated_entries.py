"""An entry whose first try got no answer: it is sent again only while it passes what it passed the first time."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from closebell.app.control import store_parameters
from closebell.app.desk import load_desk
from closebell.model.broker import OrderRequest, Side, VenueOrder
from closebell.model.errors import BrokerKeyRefused, BrokerUnavailable, OutcomeUnknown
from closebell.model.parameters import RiskLimits
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from tests.unit.app.small_desk import SmallDesk, entry, new_york

D = Decimal
TUESDAY = date(2018, 10, 2)
SENT_AGAIN = ["buy 10 AAA accepted"]


class LosesTheFirst(SimulatedBroker):
    """The first order never arrives, and nobody hears of it."""

    tried_count = 0

    def submit(self, request: OrderRequest) -> VenueOrder:
        self.tried_count += 1
        if self.tried_count == 1:
            raise OutcomeUnknown("connect timeout")
        return super().submit(request)


def in_doubt(**limits: object) -> SmallDesk:
    """A desk at 09:04 whose entry for 10 AAA at $100 was sent at 09:00 and got no answer."""
    desk = SmallDesk({"AAA": ["100", "100"], "BBB": ["50", "50"]}, lambda broker: LosesTheFirst(broker.exchange))
    store_parameters(desk.memory, desk.parameters.model_copy(update={"limits": RiskLimits.model_validate(limits)}))
    desk.plan(TUESDAY, entry(TUESDAY, "AAA"))
    desk.place(TUESDAY)
    desk.exchange.advance(new_york(TUESDAY, "09:04"))
    return desk


def ours(desk: SmallDesk) -> list[str]:
    return [line for line in desk.sent() if "AAA" in line]


def test_it_is_sent_again_when_nothing_has_changed() -> None:
    desk = in_doubt(orders_per_session_count_max=1, positions_count_max=1, position_weight_frac_max="0.0100")
    desk.reconcile(TUESDAY, "09:05")
    assert ours(desk) == SENT_AGAIN, "the limits that it fills to the brim are filled by nobody but itself"


def test_it_waits_while_the_owners_own_trade_takes_the_last_slot() -> None:
    desk = in_doubt(positions_count_max=1)
    desk.exchange.trade_manually("BBB", Side.BUY, D(7))
    desk.reconcile(TUESDAY, "09:05")
    assert ours(desk) == []
    desk.exchange.trade_manually("BBB", Side.SELL, D(7))
    desk.reconcile(TUESDAY, "09:07")
    assert ours(desk) == SENT_AGAIN


def dearer(desk: SmallDesk) -> None:
    quotes = desk.broker.quotes
    desk.broker.quotes = lambda *asked: {
        symbol: quote.model_copy(update={"bid_usd": D(106), "ask_usd": D(106)}) for symbol, quote in quotes(*asked).items()
    }


def unquoted(desk: SmallDesk) -> None:
    def down(*_: object) -> Any:
        raise BrokerUnavailable("HTTP 500")

    desk.broker.quotes = down


def poorer(desk: SmallDesk) -> None:
    desk.exchange.transfer(D("-99_001"))


def closing_only(desk: SmallDesk) -> None:
    desk.exchange.restrict("blocked")


def more_of_everything(desk: SmallDesk) -> None:
    desk.exchange.trade_manually("BBB", Side.BUY, D(1_990))


@pytest.mark.parametrize("change", [dearer, unquoted, poorer, closing_only, more_of_everything], ids=lambda one: one.__name__)
def test_it_waits_while_it_would_break_a_limit(change: Callable[[SmallDesk], None]) -> None:
    """Outside the collar, unquoted, unaffordable, forbidden, above the gross limit: the reconcile itself goes on."""
    desk = in_doubt()
    change(desk)
    run = desk.reconcile(TUESDAY, "09:05")
    assert (ours(desk), run.counts["unknown"]) == ([], 1)


def test_it_waits_while_the_position_list_is_not_whole() -> None:
    desk = in_doubt()
    desk.exchange.trade_manually("BBB", Side.BUY, D(7))
    desk.broker.positions = list
    with pytest.raises(BrokerUnavailable, match="not whole"):
        desk.reconcile(TUESDAY, "09:05")
    assert ours(desk) == []


def test_a_key_that_is_refused_for_the_quote_halts() -> None:
    desk = in_doubt()

    def locked(*_: object) -> Any:
        raise BrokerKeyRefused("HTTP 401: unauthorized.")

    desk.broker.quotes = locked
    with pytest.raises(BrokerKeyRefused):
        desk.reconcile(TUESDAY, "09:05")
    assert load_desk(desk.memory).is_halted
