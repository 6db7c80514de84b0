"""One complete reading of the broker, or none: a failed part fails the whole, and nothing is inferred from it."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from pydantic import BaseModel

from closebell.model.broker import Account, CashActivity, MarketClock, VenueFill, VenueOrder, VenuePosition
from closebell.model.errors import BrokerUnavailable, RunRefused
from closebell.model.operations import Trigger
from closebell.ports.broker import Broker

LATENESS_MAX = timedelta(minutes=5)
"""A schedule delivered later than this is not acted on: an order meant for 09:00 must not go out at 14:00."""


PRICE_NOISE_FRAC = Decimal("0.005")
"""How far the account's value and the sum of its positions may be apart because they were read one after the other."""


@dataclass(frozen=True)
class VenueReading:
    """What the broker said in one run. Activities are those after the cursor, oldest first."""

    clock: MarketClock
    account: Account
    open_orders: tuple[VenueOrder, ...]
    positions: tuple[VenuePosition, ...]
    activities: tuple[VenueFill | CashActivity, ...]

    @cached_property
    def position_of(self) -> dict[str, VenuePosition]:
        """The positions by symbol."""
        return {position.symbol: position for position in self.positions}

    @property
    def records(self) -> tuple[BaseModel, ...]:
        """Everything in it, for a fingerprint."""
        return (self.clock, self.account, *self.open_orders, *self.positions, *self.activities)


def read_venue(broker: Broker, after_activity_id: str) -> VenueReading:
    """Read everything. Orders and positions are read before the activities, so that no fill in them is still unknown."""
    clock = broker.clock()
    account = broker.account()
    open_orders = tuple(broker.open_orders())
    positions = tuple(broker.positions())
    return VenueReading(clock, account, open_orders, positions, tuple(broker.activities(after_activity_id)))


def require_punctual(trigger: Trigger, clock: MarketClock) -> None:
    """Refuse a run whose scheduled instant is not now by the broker's clock."""
    lateness = clock.now_at - trigger.scheduled_at
    if abs(lateness) > LATENESS_MAX:
        raise RunRefused(
            f"this run was meant for {trigger.scheduled_at:%Y-%m-%d %H:%M}Z, "
            f"the broker's clock says {clock.now_at:%Y-%m-%d %H:%M}Z: "
            f"more than {LATENESS_MAX.seconds // 60} min apart, so it must not act"
        )


def unlisted_usd(reading: VenueReading) -> Decimal:
    """What the account holds outside cash beyond the positions that are listed (USD); price moves between the reads are in it."""
    listed = sum((abs(position.market_value_usd) for position in reading.positions), Decimal(0))
    return reading.account.equity_usd - reading.account.cash_usd - listed


def lacks_positions(reading: VenueReading) -> bool:
    """Whether the account holds clearly more than what is listed."""
    listed = sum((abs(position.market_value_usd) for position in reading.positions), Decimal(0))
    return unlisted_usd(reading) >= max(listed * PRICE_NOISE_FRAC, Decimal(1))


class Gone(StrEnum):
    """What the account's own numbers say of shares that the position list lacks."""

    SURELY = "surely"
    PERHAPS = "perhaps"


def are_gone(reading: VenueReading, missing_usd: Decimal) -> Gone:
    """Whether shares that our books have and the list lacks are gone, by what the account holds outside cash.

    `missing_usd` is what our books paid for them. Account and positions are two requests, between which prices move: less than
    that noise proves nothing.

    Raises
    ------
    BrokerUnavailable
        The account still contains them: the list left something out, and nothing may be concluded from it.
    """
    listed = sum((abs(position.market_value_usd) for position in reading.positions), Decimal(0))
    unlisted = unlisted_usd(reading)
    noise = listed * PRICE_NOISE_FRAC
    if unlisted >= max(missing_usd / 2, noise, Decimal(1)):
        raise BrokerUnavailable(
            f"the broker lists positions worth ${listed:,.2f}, but its account holds ${unlisted:,.2f} more outside cash: "
            "the list is not whole, so nothing is concluded from it"
        )
    return Gone.SURELY if missing_usd / 2 > noise or not reading.positions else Gone.PERHAPS
