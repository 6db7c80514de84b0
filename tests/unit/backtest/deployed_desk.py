"""The desk as it is deployed, in one process: every use case itself, every reading whole, every instant of the schedule kept.

It is slow and leaves nothing out: what `BacktestDesk` leaves out may change nothing that this desk does.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import date, datetime

from closebell.app.generate_signals import GenerateSignals
from closebell.app.place_orders import PlaceOrders
from closebell.app.reconcile import Reconcile
from closebell.app.review_performance import ReviewPerformance
from closebell.app.runs import RunLog
from closebell.app.trading_room import TradingRoom
from closebell.backtest.desk.engine import BacktestDesk, ExchangeClock
from closebell.model.instruments import Market, SessionHours
from closebell.model.operations import NewsItem, RunRecord, Trigger
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.simulated_broker import SimulatedBroker
from closebell.simulation.market import PriceBand
from closebell.simulation.memory_archive import MemoryArchive

BY_SESSION, BY_MARKET = ("PLAN", "ORDER", "FILL", "DENIAL"), ("TRADE", "EQUITY")
"""The kinds of records that two desks must agree on, by how their partitions are named."""


class MarketCalendar:
    """Implements `ports.market_data.Calendar`: the sessions of a simulated market."""

    def __init__(self, market: BarMarket) -> None:
        self._market = market

    def sessions(self, market: Market, first: date, last: date) -> list[SessionHours]:
        hours = self._market.sessions(market)
        dates = [day.session for day in hours]
        return list(hours[bisect_left(dates, first) : bisect_right(dates, last)])


class NoNews:
    """Implements `ports.market_data.News`: bars come without headlines."""

    def headlines(self, symbols: Sequence[str], since: datetime) -> list[NewsItem]:
        return []


class UnsearchedMarket(BarMarket):
    """A market that does not know when a price is reached next: the exchange looks at every resting order in every session."""

    def __init__(self, market: BarMarket) -> None:
        vars(self).update(vars(market))

    def first_session_outside(self, symbol: str, first: date, band: PriceBand) -> date:
        return first


class DeployedDesk(BacktestDesk):
    """Runs the deployed use cases, each with its run record, lease and full reading, and reconciles at every instant.

    Delistings, the sale at the end and the owner's resumes are a backtest's own and shared.
    """

    def _open(self, eve: date) -> None:
        self.exchange = Exchange(UnsearchedMarket(self.market), self.day.at(eve, self.day.reviews_at), self._options)
        broker, clock, calendar = SimulatedBroker(self.exchange), ExchangeClock(self.exchange), MarketCalendar(self.market)

        def log(function: str) -> RunLog:
            return RunLog(function, "backtest", self.journal, clock, self.alerts)

        self._place_orders = PlaceOrders(TradingRoom(log("place_orders"), broker, "paper"))
        self._reconcile = Reconcile(TradingRoom(log("reconcile"), broker, "paper"))
        self._review_performance = ReviewPerformance(log("review_performance"), self.journal, calendar)
        self._generate_signals = GenerateSignals(
            log("generate_signals"), self.journal, MemoryArchive(), self._evidence, NoNews(), calendar, "backtest"
        )
        self._look(self.day.at(eve, self.day.puts_up_at))
        self._plan_after(eve)

    def _place(self, session: date) -> None:
        self._run(self._place_orders, self.day.at(session, self.day.places_at))

    def _look(self, at: datetime, *, reads: bool = True) -> None:
        self._run(self._reconcile, at)

    def _review(self, session: date) -> None:
        self._run(self._review_performance, self.day.at(session, self.day.reviews_at))

    def _plan_after(self, session: date) -> None:
        self._run(self._generate_signals, self.day.at(session, self.day.decides_at))

    def _watch(self, session: date) -> None:
        day = self.day
        at, closing = day.at(session, day.looks_from), day.at(session, day.last_look_before_review)
        while at <= day.at(session, day.looks_until):
            self._sell_out(at)
            self._look(at)
            if at == closing:
                self._review(session)
            at += day.looks_every

    def _run(self, use_case: Callable[[Trigger], RunRecord], at: datetime) -> None:
        self._advance(at)
        use_case(Trigger(market=self.day.market, scheduled_at=at))


def lines_of(desk: BacktestDesk) -> dict[str, list[str]]:
    """What a desk has written down of its sessions, as the JSON that is stored, by partition."""
    market = desk.day.market
    partitions = [f"{kind}#{market}#{session}" for kind in BY_SESSION for session in desk.sessions]
    partitions += [f"{kind}#{market}" for kind in BY_MARKET]
    return {name: [stored.record.model_dump_json() for stored in desk.journal.query("journal", name)] for name in partitions}
