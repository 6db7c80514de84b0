"""One complete reading of the broker, or none: a failed part fails the whole, and nothing is inferred from it."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from closebell.model.broker import Account, BrokerSnapshot, CashActivity, MarketClock, VenueFill, VenueOrder, VenuePosition
from closebell.model.errors import BrokerUnavailable, RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import Trigger
from closebell.ports.broker import Broker

LATENESS_MAX = timedelta(minutes=5)
"""A schedule delivered later than this is not acted on: an order meant for 09:00 must not go out at 14:00."""


@dataclass(frozen=True)
class VenueReading:
    """What the broker said in one run. Activities are those after the cursor, oldest first."""

    clock: MarketClock
    account: Account
    open_orders: tuple[VenueOrder, ...]
    positions: tuple[VenuePosition, ...]
    activities: tuple[VenueFill | CashActivity, ...]

    def snapshot(self, market: Market) -> BrokerSnapshot:
        """The reading as the record from which exposure is computed."""
        return BrokerSnapshot(
            as_of=self.clock.now_at,
            session=market.date_of(self.clock.now_at),
            account=self.account,
            positions=self.positions,
            open_orders=self.open_orders,
        )


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


def require_whole_positions(reading: VenueReading, missing_usd: Decimal) -> None:
    """Refuse to conclude that positions are gone while the account's own numbers still contain them.

    `missing_usd` is what our books say the missing shares cost. If the account holds half of that or more outside cash and
    outside the listed positions, then the list left something out.
    """
    listed = sum((position.market_value_usd for position in reading.positions), Decimal(0))
    unlisted = reading.account.equity_usd - reading.account.cash_usd - listed
    if unlisted >= max(missing_usd / 2, Decimal(1)):
        raise BrokerUnavailable(
            f"the broker lists positions worth ${listed:,.2f}, but its account holds ${unlisted:,.2f} more outside cash: "
            "the list is not whole, so nothing is concluded from it"
        )
