"""What moves many synthetic prices at once: market factors with regimes and volatility clusters, sector fashions, the VIX."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closebell.model.panel import Matrix
from closebell.simulation.synthetic.seeds import stream

Vector = NDArray[np.float64]

# Regimes: rise, sideways, fall. Log drift and volatility of one session.
_DRIFTS = (0.0007, 0.0001, -0.0012)
_VOLATILITIES = (0.0065, 0.0090, 0.0175)
_REGIME_CHANGE_PROBABILITY = 0.025
_LOWEST_VOLATILITY, _HIGHEST_VOLATILITY = 0.004, 0.04
_SESSIONS_PER_YEAR = 252


@dataclass(frozen=True, eq=False)
class Factor:
    """Log return and volatility (standard deviation of a session's log return), one value a session."""

    returns: Vector
    volatility: Vector

    @property
    def storminess(self) -> Vector:
        """About 1 in ordinary times, larger when the factor is volatile: other noises scale with it."""
        return np.asarray(np.sqrt(self.volatility / np.median(_VOLATILITIES)), dtype=np.float64)


def market_factor(seed: int, name: str, count: int) -> Factor:
    """A factor of `count` sessions with fat tails, three regimes, and volatility that clusters and jumps after losses."""
    shocks = stream(seed, name, "shocks").standard_t(6, count) / np.sqrt(1.5)
    changes = stream(seed, name, "regime changes").random(count) < _REGIME_CHANGE_PROBABILITY
    steps = stream(seed, name, "next regimes").integers(1, 3, count)
    noise = stream(seed, name, "volatility").standard_normal(count)
    returns, volatility = np.empty(count), np.empty(count)
    regime, log_volatility, last_shock = 0, float(np.log(_VOLATILITIES[0])), 0.0
    for t in range(count):
        if changes[t]:
            regime = int(regime + steps[t]) % len(_DRIFTS)
        pull = 0.08 * (float(np.log(_VOLATILITIES[regime])) - log_volatility)
        log_volatility += pull + 0.06 * noise[t] - 0.05 * last_shock
        volatility[t] = np.clip(np.exp(log_volatility), _LOWEST_VOLATILITY, _HIGHEST_VOLATILITY)
        returns[t] = _DRIFTS[regime] + volatility[t] * shocks[t]
        last_shock = float(shocks[t])
    return Factor(returns, volatility)


def sector_returns(seed: int, count: int, sectors_count: int) -> Matrix:
    """Sessions x sectors log returns. A sector's fashion lasts: its drift is a random walk that slowly forgets."""
    noise = stream(seed, "sectors").standard_normal((count, sectors_count, 2))
    returns, fashion = np.empty((count, sectors_count)), np.zeros(sectors_count)
    for t in range(count):
        fashion = 0.97 * fashion + 0.00025 * noise[t, :, 0]
        returns[t] = fashion + 0.0055 * noise[t, :, 1]
    return returns


def volatility_index(seed: int, market: Factor) -> Vector:
    """VIX closes in points: today's volatility mixed with the recent past's realised one, annualised, plus a premium."""
    variance, realised = 0.0, np.empty_like(market.returns)
    for t, move in enumerate(market.returns):
        variance = 0.93 * variance + 0.07 * float(move) ** 2 if t else float(market.volatility[0]) ** 2
        realised[t] = variance
    expected = np.sqrt(_SESSIONS_PER_YEAR * (0.6 * market.volatility**2 + 0.4 * realised))
    noise = stream(seed, "vix").normal(0, 0.04, len(realised))
    return np.asarray(np.clip(100 * 1.15 * expected * np.exp(noise), 9, 90), dtype=np.float64)
