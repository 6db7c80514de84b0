"""Bars, the volatility index and headlines of a rehearsal, with the ways in which a feed is wrong."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

import numpy as np

from closebell.model.errors import DataError
from closebell.model.instruments import Market
from closebell.model.operations import NewsItem
from closebell.model.panel import FIELDS, BarPanel
from closebell.ports.market_data import VolatilitySeries
from closebell.rehearsal.market import INDEX, SYMBOLS, RehearsalMarket
from closebell.rehearsal.output_checks import HOSTILE_HEADLINE
from closebell.rehearsal.stage import Stage

_PRICES = FIELDS[:4]


class FaultyFeeds:
    """Implements MarketData, VolatilityIndex and News over a rehearsal's market."""

    def __init__(self, stage: Stage, market: RehearsalMarket) -> None:
        self._stage, self._market = stage, market

    def daily_bars(self, symbols: Sequence[str], market: Market, first: date, last: date) -> BarPanel:
        whole = self._market.adjusted_panel(last)
        begin = int(np.searchsorted(whole.sessions, np.datetime64(first)))
        return self._spoilt(whole.rows(slice(begin, None)).columns(tuple(symbols)))

    def split_dates(self, symbols: Sequence[str], first: date, last: date) -> dict[str, dict[date, float]]:
        return {
            symbol: {split.ex_session: float(split.ratio)}
            for symbol, split in self._market.split_of.items()
            if symbol in symbols and first <= split.ex_session <= last
        }

    def closes(self, last: date) -> VolatilitySeries:
        if self._stage.strikes("vix_down"):
            raise DataError("the VIX history answered 404")
        closes = self._market.volatility_closes(last)
        return VolatilitySeries(self._market.panel.sessions[: len(closes)], closes)

    def headlines(self, symbols: Sequence[str], since: datetime) -> list[NewsItem]:
        if self._stage.strikes("news_down"):
            raise DataError("news are down")
        headline = HOSTILE_HEADLINE if self._stage.strikes("hostile_news") else "Quarterly figures are out"
        return [
            NewsItem(
                news_id=f"n-{symbol}", headline=headline, source="wire", url="https://example.com/n",
                symbols=(symbol,), published_at=since,
            )
            for symbol in symbols[:2]
        ]  # fmt: skip

    def _spoilt(self, panel: BarPanel) -> BarPanel:
        draw, strikes = self._stage.generator, self._stage.strikes
        column = panel.symbols.index(draw.choice([symbol for symbol in SYMBOLS if symbol != INDEX]))
        if strikes("stale_bar"):
            late = draw.choice(["all", "half", "one"])
            for each in range(0, len(panel.symbols) - 1, 2) if late == "half" else (column,):
                panel = _with(panel, slice(-1, None), each, np.nan)
            panel = panel.rows(slice(0, -1)) if late == "all" else panel
        if strikes("missing_symbol"):
            panel = _with(panel, slice(None), column, np.nan)
        if strikes("bad_number_bar"):
            panel = _with(panel, slice(-1, None), column, draw.choice([np.nan, 0.0, -3.0]))
        if strikes("price_times_100"):
            panel = _times(panel, slice(-1, None) if draw.random() < 0.5 else slice(None), column, 100.0)
        if strikes("revised_history"):
            panel = _times(panel, slice(-40, -20), column, 1.03)
        return panel


def _with(panel: BarPanel, rows: slice, column: int, value: float) -> BarPanel:
    fields = {field: getattr(panel, field).copy() for field in _PRICES}
    for matrix in fields.values():
        matrix[rows, column] = value
    return replace(panel, **fields)


def _times(panel: BarPanel, rows: slice, column: int, factor: float) -> BarPanel:
    fields = {field: getattr(panel, field).copy() for field in _PRICES}
    for matrix in fields.values():
        matrix[rows, column] *= factor
    return replace(panel, **fields)
