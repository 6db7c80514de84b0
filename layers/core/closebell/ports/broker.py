"""The broker: its truth, and the three things we may ask it to do."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from closebell.model.broker import (
    Account,
    Asset,
    CashActivity,
    MarketClock,
    OrderRequest,
    Quote,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from closebell.model.instruments import Market, SessionHours


class Broker(Protocol):
    """One brokerage account. Reads are complete (every page) or raise BrokerUnavailable (RateLimited, BrokerKeyRefused)."""

    def clock(self) -> MarketClock:
        """The broker's time and the exchange's next open and close."""

    def calendar(self, first: date, last: date) -> list[SessionHours]:
        """The exchange's equity sessions in a range of dates, both ends included."""

    def account(self) -> Account:
        """Equity, cash and buying power now."""

    def asset(self, symbol: str) -> Asset | None:
        """One asset; None when the broker does not know the symbol."""

    def positions(self) -> list[VenuePosition]:
        """Every open position."""

    def open_orders(self) -> list[VenueOrder]:
        """Every order that is not terminal, legs nested under their parent, oldest first."""

    def every_order(self) -> list[VenueOrder]:
        """Every order the account ever had, ended ones too, legs nested under their parent, oldest first."""

    def order(self, venue_order_id: str) -> VenueOrder | None:
        """One order by the broker's id, with its legs; None when not found."""

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        """One order by our id, with its legs. None proves nothing about an order that was just sent."""

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        """Fills and cash activities after a given one ("" for all), every page, oldest first."""

    def quotes(self, symbols: Sequence[str], market: Market) -> dict[str, Quote]:
        """The latest quote of each symbol that has one."""

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Send an order once.

        Raises
        ------
        OrderRejected
            Refused for good (or InsufficientBuyingPower, InsufficientQuantity, WashTrade).
        DuplicateOrderId
            The broker has an order with this id.
        RateLimited, BrokerKeyRefused
            Not accepted; the same id may be sent later.
        OutcomeUnknown
            Timeout, 5xx or an answer that makes no sense: it may have been accepted.
        """

    def cancel(self, venue_order_id: str) -> None:
        """Ask for a cancel; it is asynchronous, the order shows when it is done. Cancelling a finished order is no error.

        Raises OutcomeUnknown when no trustworthy answer came.
        """
