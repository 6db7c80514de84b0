"""The broker for the two functions that may trade. The key is read again every few minutes, so a rotated one takes effect."""

import time
from functools import lru_cache

from closebell.adapters import aws_clients
from closebell.adapters.alpaca_broker import AlpacaBroker
from closebell.adapters.ssm import read_broker_key
from closebell.ports.broker import Broker
from closebell.wiring.desk import settings

KEY_AGE_S_MAX = 300


def broker() -> Broker:
    """The account that the trading key opens."""
    return _broker(int(time.monotonic() // KEY_AGE_S_MAX))


@lru_cache(maxsize=1)
def _broker(key_age: int) -> Broker:
    chosen = settings()
    key = read_broker_key(chosen.require("trading_key_parameter"), aws_clients.ssm())
    return AlpacaBroker(
        key.key_id, key.secret_key, chosen.trading_url, chosen.alpaca_data_url, paper=chosen.closebell_environment != "live"
    )
