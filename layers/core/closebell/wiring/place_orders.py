"""Builds `place_orders`."""

from closebell.app.place_orders import PlaceOrders
from closebell.wiring.brokerage import broker
from closebell.wiring.desk import journal, notifier, run_log, settings


def build_place_orders() -> PlaceOrders:
    """The use case over Alpaca and AWS, as the environment names them. Raises ConfigurationError."""
    chosen = settings()
    return PlaceOrders(
        run_log("place_orders"), journal(), broker(), notifier(), chosen.closebell_environment, chosen.closebell_code_version
    )
