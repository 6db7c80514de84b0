"""The evening's use cases over a made-up panel: data, archive and mail in memory, the calendar real."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np

from closebell.adapters.cron import CronFirings
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app.control import store_parameters
from closebell.app.evidence import MarketEvidence
from closebell.app.generate_signals import GenerateSignals
from closebell.app.review_performance import ReviewPerformance
from closebell.app.runs import RunLog
from closebell.app.send_newsletter import SendNewsletter
from closebell.app.watch_schedule import WatchSchedule
from closebell.model.broker import Account, BrokerSnapshot
from closebell.model.errors import DataError, StoreUnavailable
from closebell.model.instruments import Instrument, Market
from closebell.model.operations import Mail, NewsItem, Trigger
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ParameterSet
from closebell.ports.journal import Create
from closebell.ports.market_data import VolatilitySeries
from closebell.simulation.memory_archive import MemoryArchive
from closebell.simulation.memory_journal import MemoryJournal
from tests.unit.app.small_desk import VERSION, FixedClock, Inbox, new_york

SYMBOLS = ("UPA", "UPB", "UPC", "DNA", "DNB", "FLT")
INDEX = "IDX"
DECIDED = date(2018, 10, 1)


def made_up_panel(last: date, seed: int = 45, sessions_count: int = 320) -> BarPanel:
    """Three symbols that rise, two that fall, one that goes nowhere, and an index; seeded."""
    hours = ExchangeCalendar().sessions(Market.US_EQUITY, last - timedelta(days=sessions_count * 2), last)[-sessions_count:]
    drifts = np.array([0.004, 0.003, 0.003, -0.004, -0.003, 0.0, 0.001])
    noise = np.random.default_rng(seed).normal(0, 0.006, (sessions_count, len(drifts)))
    closes = 100 * np.exp(np.cumsum(drifts + noise, axis=0))
    days = np.array([hour.session for hour in hours], dtype="datetime64[D]")
    return BarPanel(days, (*SYMBOLS, INDEX), closes, closes * 1.004, closes * 0.996, closes, np.full(closes.shape, 1e6))


class PanelData:
    """Implements MarketData, News and VolatilityIndex over a panel; knows no bar after the session it is asked for."""

    def __init__(self, panel: BarPanel) -> None:
        self.panel = panel
        self.news_is_down = self.vix_is_down = False
        self.news: list[NewsItem] = []

    def daily_bars(self, symbols: Sequence[str], market: Market, first: date, last: date) -> BarPanel:
        known = self.panel.through(last)
        blank = np.full(len(known.sessions), np.nan)
        place = {symbol: column for column, symbol in enumerate(known.symbols)}
        fields = [
            np.column_stack([getattr(known, field)[:, place[symbol]] if symbol in place else blank for symbol in symbols])
            for field in FIELDS
        ]
        return BarPanel(known.sessions, tuple(symbols), *fields)

    def split_dates(self, symbols: Sequence[str], first: date, last: date) -> dict[str, dict[date, float]]:
        return {}

    def closes(self, last: date) -> VolatilitySeries:
        if self.vix_is_down:
            raise DataError("the VIX history answered 404")
        days = self.panel.through(last).sessions
        return VolatilitySeries(days, np.full(len(days), 12.5))

    def headlines(self, symbols: Sequence[str], since: datetime) -> list[NewsItem]:
        if self.news_is_down:
            raise DataError("news is down")
        return self.news


class Postbox:
    """Implements Mailer: keeps what was sent."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.is_down = False

    def send(self, mail: Mail) -> str:
        if self.is_down:
            raise StoreUnavailable("SES is down")
        self.mails.append(mail)
        return f"message-{len(self.mails)}"


class Evening:
    """The desk after a close, with a broker snapshot that is fresh unless `reads_broker` is False."""

    def __init__(self, decided: date = DECIDED, reads_broker: bool = True, universe: tuple[str, ...] = SYMBOLS) -> None:
        self.decided = decided
        self.journal, self.archive, self.inbox, self.postbox = MemoryJournal(), MemoryArchive(), Inbox(), Postbox()
        self.data = PanelData(made_up_panel(decided))
        instruments = tuple(Instrument(symbol=symbol, sector=f"sector-{symbol[:2]}") for symbol in universe)
        store_parameters(self.journal, ParameterSet(universe=instruments, regime_symbol=INDEX))
        if reads_broker:
            self.journal.commit([Create(snapshot(decided, "16:10"))])

    def generate_signals(self) -> GenerateSignals:
        return GenerateSignals(
            self._log("generate_signals"),
            self.journal,
            self.archive,
            MarketEvidence(self.data, self.data),
            self.data,
            ExchangeCalendar(),
            VERSION,
        )

    def send_newsletter(self) -> SendNewsletter:
        return SendNewsletter(
            self._log("send_newsletter"),
            self.journal,
            self.archive,
            self.postbox,
            ExchangeCalendar(),
            "paper",
            "made-up",
            VERSION,
        )

    def review_performance(self) -> ReviewPerformance:
        return ReviewPerformance(self._log("review_performance"), self.journal, ExchangeCalendar())

    def watch_schedule(self) -> WatchSchedule:
        return WatchSchedule(self._log("watch_schedule"), ExchangeCalendar(), CronFirings())

    def trigger(self, at: str, day: date | None = None) -> Trigger:
        return Trigger(market=Market.US_EQUITY, scheduled_at=new_york(day or self.decided, at))

    def _log(self, function: str) -> RunLog:
        return RunLog(function, VERSION, self.journal, FixedClock(), self.inbox)

    def spoil(self, symbol: str, field: str, row: int, value: float) -> None:
        """Put one wrong number into the panel."""
        matrix = getattr(self.data.panel, field).copy()
        matrix[row, self.data.panel.symbols.index(symbol)] = value
        self.data.panel = replace(self.data.panel, **{field: matrix})


def snapshot(session: date, at: str, equity: str = "100000") -> BrokerSnapshot:
    """A flat account as the broker showed it."""
    account = Account(
        account_number="PA1",
        status="ACTIVE",
        equity_usd=Decimal(equity),
        last_equity_usd=Decimal(100_000),
        cash_usd=Decimal(equity),
        buying_power_usd=Decimal(equity),
        trading_blocked=False,
    )
    return BrokerSnapshot(as_of=new_york(session, at), session=session, account=account, positions=(), open_orders=())
