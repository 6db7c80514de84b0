"""The broker for the two functions that may trade."""

from functools import cache

from closebell.adapters import aws_clients
from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.adapters.ssm import BrokerKey, read_broker_key
from closebell.app.trading_room import TradingRoom
from closebell.ports.broker import Broker
from closebell.wiring.desk import run_log, settings


class Brokerage:
    """The account that the trading key opens. `broker` is opened with the key as last read; see `reopen`.

    Raises ConfigurationError, StoreUnavailable.
    """

    def __init__(self) -> None:
        self._key = _read_key()
        self.broker: Broker = _opened_with(self._key)

    def reopen(self) -> Broker | None:
        """Read the key again: the account opened with it, None when it is the same. Raises as the constructor does."""
        key = _read_key()
        if key == self._key:
            return None
        self._key, self.broker = key, _opened_with(key)
        return self.broker


@cache
def brokerage() -> Brokerage:
    """Opened once a process: a key that is rotated meanwhile is noticed when the broker refuses the old one."""
    return Brokerage()


def trading_room(function: str) -> TradingRoom:
    """What a function that may trade works with. Raises ConfigurationError, StoreUnavailable."""
    opened = brokerage()
    return TradingRoom(run_log(function), opened.broker, settings().closebell_environment, opened.reopen)


def _read_key() -> BrokerKey:
    return read_broker_key(settings().require("trading_key_parameter"), aws_clients.ssm())


def _opened_with(key: BrokerKey) -> Broker:
    chosen = settings()
    return AlpacaBroker(
        key.key_id, key.secret_key, chosen.trading_url, chosen.alpaca_data_url, paper=chosen.closebell_environment != "live"
    )
