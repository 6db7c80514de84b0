"""Daily bars of the synthetic market.

    log return = beta x market + loading x sector + own noise + earnings jump

Part of a share's move happens overnight, an earnings jump entirely so; a coin trades through the night and has no gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closebell.model.instruments import Market, SessionHours
from closebell.model.panel import BarPanel, Matrix
from closebell.simulation.synthetic.factors import Factor, Vector, sector_returns
from closebell.simulation.synthetic.grid import on_grid
from closebell.simulation.synthetic.incidents import Incidents
from closebell.simulation.synthetic.listing import COMPANIES, EQUITIES, INDEX_FUND, PAIRS, SECTOR_FUNDS, SECTORS
from closebell.simulation.synthetic.seeds import stream

_FULL_SESSION_S = 6.5 * 3600
_OVERNIGHT_SHARE = 0.3
_JUMP_PROBABILITY = 1 / 63
_JUMP_FRAC = 0.035
_SILENT_PROBABILITY = 0.02
# A coin moves about this much more than the stock market, and less on weekends.
_CRYPTO_SCALE = 2.2
_WEEKEND_SCALE = 0.65


@dataclass(frozen=True, eq=False)
class _Moves:
    """Log returns, sessions x symbols, and the standard deviation that is typical for each."""

    overnight: Matrix
    intraday: Matrix
    typical: Matrix


@dataclass(frozen=True, eq=False)
class _Traits:
    """What stays the same about each of `EQUITIES`. `noise` is its own standard deviation a session."""

    beta: Vector
    loading: Vector
    noise: Vector
    first_price_usd: Vector
    turnover_usd: Vector


def equity_bars(seed: int, sessions: Sequence[SessionHours], market: Factor, incidents: Incidents) -> BarPanel:
    """Bars of companies and funds as traded, splits not adjusted; NaN where a symbol did not trade."""
    traits = _equity_traits(seed)
    moves = _equity_moves(seed, market, traits)
    hours = [(each.closes_at - each.opens_at).total_seconds() / _FULL_SESSION_S for each in sessions]
    first_price = traits.first_price_usd / _split_factors(sessions, incidents)
    panel = _panel(seed, Market.US_EQUITY, sessions, EQUITIES, first_price, moves, traits.turnover_usd * np.array(hours)[:, None])
    silent = _silent(seed, sessions, incidents)
    for field in (panel.open, panel.high, panel.low, panel.close, panel.volume):
        field[silent] = np.nan
    return panel


def crypto_bars(seed: int, sessions: Sequence[SessionHours], coins: Factor) -> BarPanel:
    """Bars of the crypto pairs; each UTC day opens about where the last one closed."""
    pairs, shape = PAIRS.values(), (len(sessions), len(PAIRS))
    beta, noise = (np.array([getattr(pair, name) for pair in pairs]) for name in ("beta", "noise_frac"))
    pace = np.where([hours.session.weekday() >= 5 for hours in sessions], _WEEKEND_SCALE, 1.0)[:, None]
    own = noise * stream(seed, "crypto", "day").standard_normal(shape)
    moves = _Moves(
        overnight=0.0004 * stream(seed, "crypto", "night").standard_normal(shape),
        intraday=pace * (_CRYPTO_SCALE * np.outer(coins.returns, beta) + own),
        typical=pace * np.hypot(_CRYPTO_SCALE * np.outer(coins.volatility, beta), noise),
    )
    first_price = np.broadcast_to([pair.first_price_usd for pair in pairs], shape)
    turnover_usd = pace * np.array([pair.turnover_usd for pair in pairs])
    return _panel(seed, Market.CRYPTO, sessions, tuple(PAIRS), first_price, moves, turnover_usd)


def _equity_traits(seed: int) -> _Traits:
    """Companies differ; a fund follows its sector and the market with little noise, the index fund the market alone."""
    is_company = np.array([symbol in COMPANIES for symbol in EQUITIES])
    draws = stream(seed, "equity", "traits").random((5, len(EQUITIES)))
    loading = np.where(is_company, 0.5 + 0.6 * draws[1], 1.0)
    loading[EQUITIES.index(INDEX_FUND)] = 0.0
    return _Traits(
        beta=np.where(is_company, 0.6 + 0.9 * draws[0], 1.0),
        loading=loading,
        noise=np.where(is_company, 0.007 + 0.013 * draws[2], 0.0008),
        first_price_usd=np.where(is_company, 15 * 20 ** draws[3], 60 + 340 * draws[3]),
        turnover_usd=np.where(is_company, 3e7 * 30 ** draws[4], 2e9),
    )


def _equity_moves(seed: int, market: Factor, traits: _Traits) -> _Moves:
    shape = (len(market.returns), len(EQUITIES))
    # The index fund has a loading of 0: which sector it is given does not matter.
    sector_of = {**COMPANIES, **SECTOR_FUNDS, INDEX_FUND: SECTORS[0]}
    sector = sector_returns(seed, shape[0], len(SECTORS))[:, [SECTORS.index(sector_of[symbol]) for symbol in EQUITIES]]
    storm = market.storminess[:, None]
    common = np.outer(market.returns, traits.beta) + storm * sector * traits.loading
    own = storm * traits.noise
    jump_days = stream(seed, "equity", "jump days").random(shape) < _JUMP_PROBABILITY
    jumps = jump_days * stream(seed, "equity", "jumps").standard_t(4, shape) * _JUMP_FRAC
    jumps[:, [symbol not in COMPANIES for symbol in EQUITIES]] = 0
    return _Moves(
        overnight=_OVERNIGHT_SHARE * common + 0.3 * own * stream(seed, "equity", "night").standard_normal(shape) + jumps,
        intraday=(1 - _OVERNIGHT_SHARE) * common + 0.95 * own * stream(seed, "equity", "day").standard_normal(shape),
        typical=np.hypot(np.outer(market.volatility, traits.beta), own),
    )


def _panel(
    seed: int, market: Market, sessions: Sequence[SessionHours], symbols: tuple[str, ...], first_price: Matrix, moves: _Moves,
    turnover_usd: Matrix,
) -> BarPanel:
    """Open, high, low, close on the price grid, and volume from the turnover: busier on days of large moves."""
    log_close = np.cumsum(moves.overnight + moves.intraday, axis=0)
    close = first_price * np.exp(log_close)
    opened = first_price * np.exp(log_close - moves.intraday)
    reach = np.abs(stream(seed, market, "reach").standard_normal((*close.shape, 2))) * 0.45 * moves.typical[:, :, None]
    high = np.maximum(opened, close) * np.exp(reach[:, :, 0])
    low = np.minimum(opened, close) * np.exp(-reach[:, :, 1])
    bustle = 1 + np.abs(moves.overnight + moves.intraday) / moves.typical
    volume = turnover_usd / 2 * bustle * np.exp(0.3 * stream(seed, market, "volume").standard_normal(close.shape)) / close
    opened, high, low, close = (on_grid(prices, market) for prices in (opened, high, low, close))
    return BarPanel(_dates(sessions), symbols, opened, high, low, close, volume)


def _split_factors(sessions: Sequence[SessionHours], incidents: Incidents) -> Matrix:
    """Sessions x symbols: how many shares one share of the first session has become."""
    factors = np.ones((len(sessions), len(EQUITIES)))
    for symbol, split in incidents.splits.items():
        factors[_dates(sessions) >= np.datetime64(split.ex_session), EQUITIES.index(symbol)] = float(split.ratio)
    return factors


def _silent(seed: int, sessions: Sequence[SessionHours], incidents: Incidents) -> NDArray[np.bool_]:
    """Sessions x symbols: whether a symbol did not trade at all."""
    dates = _dates(sessions)
    silent = np.zeros((len(sessions), len(EQUITIES)), dtype=bool)
    for symbol in sorted(incidents.thin):
        silent[:, EQUITIES.index(symbol)] = stream(seed, "silent", symbol).random(len(sessions)) < _SILENT_PROBABILITY
    for symbol, session in incidents.halted_all_day.items():
        silent[dates == np.datetime64(session), EQUITIES.index(symbol)] = True
    for symbol, session in incidents.delisted_from.items():
        silent[dates >= np.datetime64(session), EQUITIES.index(symbol)] = True
    return silent


def _dates(sessions: Sequence[SessionHours]) -> NDArray[np.datetime64]:
    return np.array([hours.session for hours in sessions], dtype="datetime64[D]")
