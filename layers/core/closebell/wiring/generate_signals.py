"""Builds `generate_signals`."""

from functools import cache

from closebell.adapters import aws_clients
from closebell.adapters.alpaca_data import AlpacaMarketData
from closebell.adapters.alpaca_news import AlpacaNews
from closebell.adapters.cboe import CboeVolatilityIndex
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.adapters.ssm import read_broker_key
from closebell.app.evidence import MarketEvidence
from closebell.app.generate_signals import GenerateSignals
from closebell.wiring.desk import archive, journal, run_log, settings

VIX_TIMEOUT_S = 10.0


@cache
def build_generate_signals() -> GenerateSignals:
    """The use case over Alpaca's data, Cboe's VIX and AWS, as the environment names them. Raises ConfigurationError."""
    chosen = settings()
    key = read_broker_key(chosen.require("data_key_parameter"), aws_clients.ssm())
    return GenerateSignals(
        run_log("generate_signals"),
        journal(),
        archive(),
        MarketEvidence(
            AlpacaMarketData(key.key_id, key.secret_key, chosen.alpaca_data_url),
            CboeVolatilityIndex(chosen.vix_history_url, VIX_TIMEOUT_S),
        ),
        AlpacaNews(key.key_id, key.secret_key, chosen.alpaca_data_url),
        ExchangeCalendar(),
        chosen.closebell_code_version,
    )
