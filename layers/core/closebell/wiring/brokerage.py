"""The broker for the two functions that may trade."""

from functools import cache

from closebell.adapters import aws_clients
from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.adapters.ssm import read_broker_key
from closebell.app.trading_room import TradingRoom
from closebell.ports.broker import Broker
from closebell.wiring.desk import run_log, settings


@cache
def broker() -> Broker:
    """The account that the trading key opens. A rotated key is read when Lambda next starts the function."""
    chosen = settings()
    key = read_broker_key(chosen.require("trading_key_parameter"), aws_clients.ssm())
    return AlpacaBroker(
        key.key_id, key.secret_key, chosen.trading_url, chosen.alpaca_data_url, paper=chosen.closebell_environment != "live"
    )


def trading_room(function: str) -> TradingRoom:
    """What a function that may trade works with. Raises ConfigurationError."""
    return TradingRoom(run_log(function), broker(), settings().closebell_environment)
