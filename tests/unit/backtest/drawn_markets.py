"""Unusual markets and desks drawn from a seed: what the named cases do not think of."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import NamedTuple, TypeVar

import numpy as np

from closebell.backtest.run import Costs
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import EntryTerms, ExitTerms
from tests.unit.backtest.desk_cases import FIRST_ROW, DeskCase, coins, day_of, shares
from tests.unit.backtest.markets import coin_panel, seeded_panel
from tests.unit.backtest.panel_events import PRICES, crashing, gapping, thinned, unadjusted, without

STRATEGIES = ("momentum", "rsi", "mean_reversion", "sma_cross", "macd")
CHANCES = {
    "coins": 0.35, "gaps": 0.5, "crashes": 0.4, "splits": 0.35, "delistings": 0.35, "holes": 0.35, "closes alone": 0.12,
    "thin volume": 0.45, "a close loss limit": 0.7, "few or heavy positions": 0.4, "few orders a session": 0.2,
    "another exposure": 0.2, "another collar": 0.2, "one position a sector": 0.2, "limit entries": 0.6, "commissions": 0.4,
}  # fmt: skip
"""What can be unusual about a market or its desk, and how often it is."""

Splits = dict[str, dict[date, float]]
Drawn = TypeVar("Drawn")


class DrawnCase(NamedTuple):
    """A backtest, and what is unusual about it."""

    case: DeskCase
    oddities: frozenset[str]


class SeededDraw:
    """What a seed draws; it remembers which oddities came up."""

    def __init__(self, seed: int) -> None:
        self.random, self.oddities = Random(seed), set[str]()

    def has(self, oddity: str) -> bool:
        """Draw whether there is this oddity, as often as `CHANCES` says."""
        found = self.random.random() < CHANCES[oddity]
        if found:
            self.oddities.add(oddity)
        return found

    def one_of(self, *values: Drawn) -> Drawn:
        return self.random.choice(values)

    def fraction(self, *values: str) -> Decimal:
        return Decimal(self.random.choice(values))

    def row(self, panel: BarPanel, first: int = FIRST_ROW) -> int:
        """One of the sessions that are traded."""
        return self.random.randrange(first, len(panel.sessions))


def drawn_case(seed: int, sessions_count: int) -> DrawnCase:
    """The seed's market, traded for some sessions, and a desk on it."""
    draw = SeededDraw(seed)
    rows_count = FIRST_ROW + sessions_count
    case = _coins(draw, seed, rows_count) if draw.has("coins") else _shares(draw, seed, rows_count)
    return DrawnCase(case, frozenset(draw.oddities))


def _shares(draw: SeededDraw, seed: int, rows_count: int) -> DeskCase:
    panel = _restless(draw, seeded_panel(seed, rows_count, draw.one_of(4, 8, 12, 16), draw.one_of(0.01, 0.02, 0.03, 0.05)))
    splits: Splits = {}
    if draw.has("splits"):
        panel, splits = _split(draw, panel)
    panel = _gappy(draw, panel)
    if draw.has("thin volume"):
        panel = thinned(panel, draw.one_of(200, 2000, 10_000))
    costs = _costs(draw)
    if draw.has("commissions"):
        costs = replace(costs, commission_a_share_usd=Decimal("0.013"), commission_an_order_usd=Decimal("2.5"))
    names = _strategies(draw)
    return shares(
        panel, _anything, *names, costs=costs, exits=_exits(draw), entries=_entries(draw), splits=splits, **_limits(draw)
    )


def _coins(draw: SeededDraw, seed: int, rows_count: int) -> DeskCase:
    names = tuple(f"C{number}/USD" for number in range(draw.one_of(1, 3, 5)))
    panel = _gappy(draw, _restless(draw, coin_panel(seed, rows_count, names)))
    if draw.has("thin volume"):
        panel = thinned(panel, draw.one_of(5000, 20_000, 60_000))
    return coins(panel, _anything, _costs(draw), _exits(draw), _entries(draw), strategies=_strategies(draw), **_limits(draw))


def _anything(*_: object) -> bool:
    """Nobody knows beforehand what a drawn case meets."""
    return True


# --- the bars


def _restless(draw: SeededDraw, panel: BarPanel) -> BarPanel:
    """With days that open elsewhere, and two on which everything falls and is back at the close."""
    if draw.has("gaps"):
        panel = gapping(panel, draw.one_of(0.005, 0.02, 0.05), seed=draw.random.randrange(10**6))
    if draw.has("crashes"):
        for _ in range(2):
            panel = crashing(panel, draw.row(panel), kept_frac=draw.one_of(0.8, 0.9, 0.95))
    return panel


def _split(draw: SeededDraw, panel: BarPanel) -> tuple[BarPanel, Splits]:
    """Every second symbol is split once, each on a day and by a ratio of its own; the bars are as they were traded."""
    splits: Splits = {}
    for column in range(0, len(panel.symbols), 2):
        row, ratio = draw.row(panel, FIRST_ROW + 2), draw.one_of(1.5, 2.0, 3.0, 0.5, 0.1)
        panel = unadjusted(panel, row, ratio, slice(column, column + 1))
        splits[panel.symbols[column]] = {day_of(panel, row): ratio}
    return panel, splits


def _gappy(draw: SeededDraw, panel: BarPanel) -> BarPanel:
    """With bars that are missing, in whole or in part."""
    columns = range(len(panel.symbols))
    if draw.has("delistings"):
        for column in columns[draw.one_of(0, 1, 2, 2) :: 3]:  # without the first symbol, which tells the regime, little is bought
            panel = without(panel, FIELDS, slice(draw.row(panel, FIRST_ROW + 3), None), column)
    if draw.has("holes"):
        for _ in range(4):
            row = draw.row(panel)
            panel = without(panel, ("close",), slice(row, row + draw.one_of(1, 2, 3, 4, 5)), draw.one_of(*columns))
            row = draw.row(panel)
            panel = without(panel, PRICES[:3], slice(row, row + 1), draw.one_of(*columns))
    if draw.has("closes alone"):
        unknown = np.full(panel.close.shape, np.nan)
        panel = replace(panel, open=unknown, high=unknown, low=unknown)
    return panel


# --- the desk


def _strategies(draw: SeededDraw) -> tuple[str, ...]:
    return tuple(draw.random.sample(STRATEGIES, draw.one_of(1, 2, 3)))


def _exits(draw: SeededDraw) -> ExitTerms:
    hold = draw.one_of(0, 0, 1, 2)
    return ExitTerms(
        stop_loss_frac=draw.fraction("0.005", "0.01", "0.02", "0.03", "0.1", "0.3"),
        take_profit_frac=draw.fraction("0.005", "0.02", "0.05", "0.2", "1"),
        time_stop_sessions=draw.one_of(max(hold, 1), 3, 5, 30),
        minimum_hold_sessions=hold,
    )


def _entries(draw: SeededDraw) -> EntryTerms:
    if not draw.has("limit entries"):
        return EntryTerms()
    return EntryTerms(use_limit=True, limit_offset_frac=draw.fraction("0.0005", "0.002", "0.01", "0.03"))


def _costs(draw: SeededDraw) -> Costs:
    """Where volume is thin, a print offers a part of it."""
    is_thin = "thin volume" in draw.oddities
    capacity_frac = draw.fraction("0.1", "0.3", "1") if is_thin else Decimal(1)
    return Costs(slippage_bps=draw.fraction("0", "2", "5", "30"), capacity_frac=capacity_frac)


def _limits(draw: SeededDraw) -> dict[str, object]:
    """Those that differ from the usual ones."""
    limits: dict[str, object] = {"universe_coverage_frac_min": Decimal("0.001")}
    if draw.has("a close loss limit"):
        limits["daily_loss_frac_max"] = draw.fraction("0.002", "0.005", "0.01")
    if "thin volume" in draw.oddities:
        limits["volume_share_frac_max"] = Decimal(1)
    if draw.has("few or heavy positions"):
        limits["positions_count_max"] = draw.one_of(1, 2, 8, 12)
        limits["position_weight_frac_max"] = draw.fraction("0.1", "0.4", "0.9")
    if draw.has("few orders a session"):
        limits["orders_per_session_count_max"] = draw.one_of(1, 2, 3)
    if draw.has("another exposure"):
        limits["gross_exposure_frac_max"] = draw.fraction("0.5", "2")
    if draw.has("another collar"):
        limits["price_collar_frac"] = draw.fraction("0.005", "0.01", "0.3")
    if draw.has("one position a sector"):
        limits["positions_per_sector_count_max"] = 1
    return limits
