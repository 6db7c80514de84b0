"""Everything that decides from bars, as subjects of the bias checks: the strategies, the indicators and the regime.

A strategy is here by being registered. A public indicator that is missing here fails a test.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from closebell.analysis import indicators
from closebell.analysis.indicators import memory_sessions
from closebell.analysis.regime import REALISED_SESSIONS, TREND_SESSIONS, regimes
from closebell.backtest.bias.strategy_module import strategy_text
from closebell.backtest.bias.subject import BiasSubject
from closebell.model.decision import Trend, Volatility
from closebell.model.panel import BarPanel, Matrix
from closebell.ports.market_data import VolatilitySeries
from closebell.strategies import STRATEGIES, Strategy

INDICATOR, REGIME = "indicator ", "regime "
"""What the names of these subjects begin with; an indicator's function is the word that follows."""

_CODES = {
    Trend.BEAR: -1.0, Trend.SIDEWAYS: 0.0, Trend.BULL: 1.0,
    Volatility.LOW: 10.0, Volatility.NORMAL: 20.0, Volatility.HIGH: 30.0,
}  # fmt: skip


def registered_subjects() -> tuple[BiasSubject, ...]:
    """Every registered strategy, every indicator and the regime, each held to its last bit."""
    return (*(strategy_subject(strategy) for strategy in STRATEGIES.values()), *_INDICATORS, *_REGIME)


def strategy_subject(strategy: Strategy, decimals: int | None = None) -> BiasSubject:
    """A strategy as a subject; `decimals` None holds it to the last bit, `SCORE_DECIMALS` to what decides.

    One that was made by hand, and is no module, cannot be asked in a process of its own: what it remembers is not looked for.
    """
    return BiasSubject(
        f"strategy {strategy.name}", strategy.lookback_sessions, strategy.scores, decimals=decimals, is_score=True,
        unused=strategy_text(strategy),
    )


def _bands(panel: BarPanel) -> Matrix:
    return np.hstack(indicators.bollinger(panel.close))


def _moves(panel: BarPanel) -> Matrix:
    return indicators.in_volatilities(indicators.returns(panel.close), indicators.volatility(panel.close))


_RSI_SESSIONS = memory_sessions(27) + 1
_MACD_SESSIONS = memory_sessions(26)

_INDICATORS = (
    BiasSubject(f"{INDICATOR}sma", 50, lambda panel: indicators.sma(panel.close, 50)),
    BiasSubject(f"{INDICATOR}ema", memory_sessions(26), lambda panel: indicators.ema(panel.close, 26)),
    BiasSubject(f"{INDICATOR}rsi", _RSI_SESSIONS, lambda panel: indicators.rsi(panel.close)),
    BiasSubject(f"{INDICATOR}macd line", _MACD_SESSIONS, lambda panel: indicators.macd(panel.close)[0]),
    BiasSubject(
        f"{INDICATOR}macd signal", _MACD_SESSIONS + memory_sessions(9) - 1, lambda panel: indicators.macd(panel.close)[1]
    ),
    BiasSubject(f"{INDICATOR}bollinger", 20, _bands, outputs=("middle", "deviation")),
    BiasSubject(f"{INDICATOR}atr", _RSI_SESSIONS, lambda panel: indicators.atr(panel.high, panel.low, panel.close)),
    BiasSubject(f"{INDICATOR}returns", 2, lambda panel: indicators.returns(panel.close)),
    BiasSubject(f"{INDICATOR}rate_of_change", 64, lambda panel: indicators.rate_of_change(panel.close, 63)),
    BiasSubject(f"{INDICATOR}volatility", 21, lambda panel: indicators.volatility(panel.close)),
    BiasSubject(f"{INDICATOR}in_volatilities", 21, _moves),
)


def _trend(panel: BarPanel) -> Matrix:
    """The trend's code, each symbol taken for the index."""
    found = (regimes(panel.sessions, closes, None).trend for closes in panel.close.T)
    return np.column_stack([_coded(trend) for trend in found])


def _volatility_of(panel: BarPanel, vix_of: Sequence[VolatilitySeries | None]) -> Matrix:
    found = [regimes(panel.sessions, closes, vix) for closes, vix in zip(panel.close.T, vix_of, strict=True)]
    return np.column_stack([*(series.level for series in found), *(_coded(series.volatility) for series in found)])


def _realised(panel: BarPanel) -> Matrix:
    return _volatility_of(panel, [None] * len(panel.symbols))


def _by_the_vix(panel: BarPanel) -> Matrix:
    """With a VIX made from each symbol's own ranges, on every third date and with a gap of four weeks: another future brings
    another VIX, and where there is none for long the realised volatility stands in."""
    days = panel.sessions.astype("datetime64[D]").astype(np.int64)
    quoted = (days % 3 == 0) & (days % 90 >= 28)
    points = 10.0 + 400.0 * (panel.high[quoted] / panel.low[quoted] - 1.0)
    return _volatility_of(panel, [VolatilitySeries(panel.sessions[quoted], closes) for closes in points.T])


def _coded(words: NDArray[np.str_]) -> NDArray[np.float64]:
    codes = np.full(len(words), np.nan)
    for word, code in _CODES.items():
        codes[words == word.value] = code
    return codes


_INDICES_COUNT = 3
"""The regime is told of one symbol at a time, which is slow; three a panel show what all would."""

_REGIME = (
    BiasSubject(f"{REGIME}trend", max(TREND_SESSIONS), _trend, symbols_count_max=_INDICES_COUNT),
    BiasSubject(
        f"{REGIME}volatility, realised", REALISED_SESSIONS + 1, _realised, outputs=("level", "state"),
        symbols_count_max=_INDICES_COUNT,
    ),
    BiasSubject(
        f"{REGIME}volatility, VIX", REALISED_SESSIONS + 1, _by_the_vix, outputs=("level", "state"), is_unknown_at_first=False,
        symbols_count_max=_INDICES_COUNT,
    ),
)  # fmt: skip
