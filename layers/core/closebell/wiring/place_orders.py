"""Builds `place_orders`."""

from closebell.app.place_orders import PlaceOrders
from closebell.wiring.brokerage import trading_room


def build_place_orders() -> PlaceOrders:
    """The use case over Alpaca and AWS, as the environment names them. Raises ConfigurationError."""
    return PlaceOrders(trading_room("place_orders"))
