"""closebell's side of `make bench`: one measured process a case.

    .venv/bin/python -m infra.bench_desk sma build/bench/bars_500x2520.npz 3

`sma` is the crossover alone with limits that hardly bind, as near to the peers' rule as the desk's checks let it come; `all` is
the desk as it is configured by default. Both are `run_backtest`, the path of `closebell backtest`.
"""

import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.analysis import indicators
from closebell.app.evidence import judged
from closebell.backtest.run import Costs, run_backtest
from closebell.decision.board import SessionInputs
from closebell.decision.desk_view import DeskView
from closebell.decision.session import decide_session
from closebell.model.broker import Account, BrokerSnapshot
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ExitTerms, ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket, hours_of
from infra.bench_process import Bars, Ending, report

CASH_USD = Decimal(100_000)
SLIPPAGE_BPS = Decimal(5)
SECTORS_COUNT = 11
LOOK_BACK_SESSIONS = 260
"""Bars before the first session that is traded."""

_BLOCK_SYMBOLS = 16
"""As the strategies are scored: columns that fit in a core's cache."""

LOOSE_LIMITS = RiskLimits(
    positions_count_max=20, positions_per_sector_count_max=20, sector_exposure_frac_max=Decimal(1),
    position_weight_frac_max=Decimal("0.05"), daily_loss_frac_max=Decimal("0.99"), orders_per_session_count_max=500,
)
LOOSE_EXITS = ExitTerms(
    stop_loss_frac=Decimal("0.39"), take_profit_frac=Decimal(1), time_stop_sessions=10_000, minimum_hold_sessions=0
)


def panel_of(bars: Bars) -> BarPanel:
    """The bars as closebell's panel."""
    return BarPanel(bars.days, bars.symbols, *(getattr(bars, field) for field in FIELDS))


def universe(symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
    """The symbols, spread over sectors."""
    return tuple(Instrument(symbol=symbol, sector=f"sector{place % SECTORS_COUNT}") for place, symbol in enumerate(symbols))


def traded(bars: Bars, parameters: ParameterSet) -> Ending:
    """One backtest from bars in memory to its records."""
    panel, costs = panel_of(bars), Costs(slippage_bps=SLIPPAGE_BPS)
    market = BarMarket(panel, hours_of(ExchangeCalendar(), panel), spread_frac=costs.spread_frac)
    first = bars.days[LOOK_BACK_SESSIONS].astype(object)
    records = run_backtest(market, parameters, costs.options(CASH_USD), first=first)
    return Ending(len(records.trades), float(records.equity[-1].equity_usd))


def sma(bars: Bars) -> Ending:
    """The crossover alone, at most 20 positions of 5 %."""
    return traded(
        bars,
        ParameterSet(
            universe=universe(bars.symbols), regime_symbol=bars.symbols[0], strategies=("sma_cross",), votes_to_act_count_min=1,
            limits=LOOSE_LIMITS, exits=LOOSE_EXITS,
        ),
    )


def every_strategy(bars: Bars) -> Ending:
    """All strategies, the vote, the regime and every limit as they are by default."""
    return traded(bars, ParameterSet(universe=universe(bars.symbols), regime_symbol=bars.symbols[0]))


def indicator_panel(bars: Bars) -> Ending:
    """RSI 14, MACD, Bollinger 20, ATR 14, SMA 20/50/200, volatility 20 and 20 session momentum of the whole panel."""
    for first in range(0, len(bars.symbols), _BLOCK_SYMBOLS):
        columns = slice(first, first + _BLOCK_SYMBOLS)
        high, low, close = (np.ascontiguousarray(field[:, columns]) for field in (bars.high, bars.low, bars.close))
        indicators.rsi(close)
        indicators.macd(close)
        indicators.bollinger(close)
        indicators.atr(high, low, close)
        for window in (20, 50, 200):
            indicators.sma(close, window)
        indicators.volatility(close)
        indicators.rate_of_change(close, 20)
    return Ending(0, 0.0)


def talib_panel(bars: Bars) -> Ending:
    """The same nine by TA-Lib, a symbol at a time."""
    import talib

    returns = np.diff(np.log(bars.close), axis=0)
    for column in range(len(bars.symbols)):
        high, low, close = (np.ascontiguousarray(field[:, column]) for field in (bars.high, bars.low, bars.close))
        talib.RSI(close, 14)
        talib.MACD(close)
        talib.BBANDS(close, 20)
        talib.ATR(high, low, close, 14)
        for window in (20, 50, 200):
            talib.SMA(close, window)
        talib.STDDEV(np.ascontiguousarray(returns[:, column]), 20)
        talib.ROC(close, 20)
    return Ending(0, 0.0)


def one_day(bars: Bars) -> Ending:
    """One evening's decision with every strategy, from bars in memory to every decision, on a desk that holds nothing."""
    parameters, panel = ParameterSet(universe=universe(bars.symbols), regime_symbol=bars.symbols[0]), panel_of(bars)
    ended = bars.days[-1].astype(object)
    evidence = judged(panel, Market.US_EQUITY, parameters, ended, None, {}, ())
    at = datetime(ended.year, ended.month, ended.day, 21, tzinfo=UTC)
    account = Account(
        account_number="PA0", status="ACTIVE", equity_usd=CASH_USD, last_equity_usd=CASH_USD, cash_usd=CASH_USD,
        buying_power_usd=CASH_USD, trading_blocked=False,
    )
    snapshot = BrokerSnapshot(as_of=at, session=ended, account=account, positions=(), open_orders=())
    view = DeskView(
        as_of=at, snapshot=snapshot, positions=(), live_orders=(), counters=None, sessions_held={}, sectors=parameters.sectors,
        is_halted=False,
    )
    decided = decide_session(
        SessionInputs(
            panel=evidence.universe, problems=evidence.problems, scores=evidence.scores, regime=evidence.regime, desk=view,
            parameters=parameters, market=Market.US_EQUITY, session=ended, next_session=ended,
        )
    )
    return Ending(len(decided.plans), float(CASH_USD))


CASES = {"sma": sma, "all": every_strategy, "indicators": indicator_panel, "talib": talib_panel, "day": one_day}


def main(case: str, bars: str, repeats: str) -> None:
    """Measure one case on one file of bars."""
    report(time.process_time(), Path(bars), CASES[case], int(repeats))


if __name__ == "__main__":
    main(*sys.argv[1:])
