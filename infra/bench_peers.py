"""The peers' side of `make bench`, in their own environment: SMA 20/50, long only, filled at the next open, 0.05 % slippage.

    build/bench/venv/bin/python -m infra.bench_peers vectorbt build/bench/bars_500x2520.npz 3

The peers are not installed where the types are checked, so they are imported by name.
"""

import importlib
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench_process import Bars, Ending, report

CASH_USD, POSITION_USD, SLIPPAGE_FRAC = 100_000.0, 5_000.0, 0.0005
FAST, SLOW = 20, 50
POSITIONS_COUNT_MAX = 20
_TIE_FRAC = 1e-9
"""As in closebell's strategy: averages nearer than this are equal."""


def frame(bars: Bars, field: str) -> Any:
    """One field as a table of days and symbols."""
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame(getattr(bars, field), index=pandas.DatetimeIndex(bars.days), columns=list(bars.symbols))


def is_above(closes: Any) -> Any:
    """Where the fast average is above the slow one."""
    return closes.rolling(FAST).mean() / closes.rolling(SLOW).mean() - 1.0 > _TIE_FRAC


def vectorbt(bars: Bars) -> Ending:
    """`Portfolio.from_signals`: one account for all symbols, 5 000 USD a position while there is cash."""
    peer = importlib.import_module("vectorbt")
    closes, opens = frame(bars, "close"), frame(bars, "open")
    above = is_above(closes).shift(1, fill_value=False)
    portfolio = peer.Portfolio.from_signals(
        closes, above, ~above, price=opens, size=POSITION_USD, size_type="value", init_cash=CASH_USD, slippage=SLIPPAGE_FRAC,
        cash_sharing=True, group_by=True, freq="1D",
    )
    return Ending(int(portfolio.trades.count()), float(portfolio.final_value()))


def bt(bars: Bars) -> Ending:
    """Equal weights of the first 20 that are above, rebalanced each day, at the close: what bt models."""
    peer = importlib.import_module("bt")
    closes = frame(bars, "close")
    above = is_above(closes)
    first = above & (above.cumsum(axis=1) <= POSITIONS_COUNT_MAX)
    algos = [peer.algos.SelectWhere(first), peer.algos.WeighEqually(), peer.algos.Rebalance()]
    result = peer.run(peer.Backtest(peer.Strategy("sma", algos), closes, initial_capital=CASH_USD, progress_bar=False))
    return Ending(len(result.get_transactions()), CASH_USD * float(result.prices.iloc[-1, 0]) / 100.0)


def backtesting(bars: Bars) -> Ending:
    """One run a symbol, each with an account of its own: backtesting.py knows no portfolio."""
    pandas, peer = importlib.import_module("pandas"), importlib.import_module("backtesting")

    def init(self: Any) -> None:
        self.above = self.I(lambda close: np.asarray(is_above(pandas.Series(close)), dtype=float), self.data.Close)

    def each_session(self: Any) -> None:
        if self.above[-1] and not self.position:
            self.buy()
        elif not self.above[-1] and self.position:
            self.position.close()

    crossover = type("Crossover", (peer.Strategy,), {"init": init, "next": each_session})
    trades_count, equity_usd = 0, 0.0
    index = pandas.DatetimeIndex(bars.days)
    for column in range(bars.close.shape[1]):
        fields = {name.capitalize(): getattr(bars, name)[:, column] for name in ("open", "high", "low", "close", "volume")}
        run = peer.Backtest(pandas.DataFrame(fields, index=index), crossover, cash=CASH_USD, spread=SLIPPAGE_FRAC,
                            finalize_trades=True)
        found = run.run()
        trades_count += int(found["# Trades"])
        equity_usd += float(found["Equity Final [$]"])
    return Ending(trades_count, equity_usd)


PEERS = {"vectorbt": vectorbt, "bt": bt, "backtesting": backtesting}


def main(name: str, bars: str, repeats: str) -> None:
    """Measure one peer on one file of bars."""
    warnings.simplefilter("ignore")
    importlib.import_module("backtesting.lib" if name == "backtesting" else name)
    report(time.process_time(), Path(bars), PEERS[name], int(repeats))


if __name__ == "__main__":
    main(*sys.argv[1:])
