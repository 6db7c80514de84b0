"""The simulated exchange behind a real socket, and the real alpaca-py clients that talk to it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from alpaca.data.historical import (
    CryptoHistoricalDataClient,
    NewsClient,
    ScreenerClient,
    StockHistoricalDataClient,
)
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.option import OptionHistoricalDataClient
from alpaca.trading.client import TradingClient

from closebell.simulation.exchange.trading_floor import ExchangeOptions
from infra.local.conformance import bounded
from infra.local.exchange.application import Gate, build_application, listening
from infra.local.exchange.rate_limit import RateLimiter
from infra.local.exchange.venue import CommandLog, Venue
from tests.contract.tiny_market import THU, TinyMarket, ny

KEY_ID, SECRET_KEY = "TEST-KEY", "TEST-SECRET"


@dataclass
class ExchangeSite:
    """A running exchange: its clients with models and raw (`raw_trading`), and its control plane.

    The clients are Any: alpaca-py's signatures say "model or dict" everywhere.
    """

    port: int
    venue: Venue

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, kind: type, raw: bool = False) -> Any:
        """An alpaca-py client of this exchange."""
        options = {"paper": True} if kind is TradingClient else {}
        return bounded(kind(KEY_ID, SECRET_KEY, raw_data=raw, url_override=self.url, **options))

    @property
    def trading(self) -> Any:
        return self.client(TradingClient)

    @property
    def raw_trading(self) -> Any:
        return self.client(TradingClient, raw=True)

    @property
    def stocks(self) -> Any:
        return self.client(StockHistoricalDataClient)

    @property
    def coins(self) -> Any:
        return self.client(CryptoHistoricalDataClient)

    @property
    def news(self) -> Any:
        return self.client(NewsClient)

    @property
    def screener(self) -> Any:
        return self.client(ScreenerClient)

    @property
    def actions(self) -> Any:
        return self.client(CorporateActionsClient)

    @property
    def options(self) -> Any:
        return self.client(OptionHistoricalDataClient)

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Call the control plane; an error is an AssertionError."""
        status, reply = http(self.port, method, f"/_control{path}", body)
        assert status == 200, (status, reply)
        return json.loads(reply)

    def advance(self, at: datetime) -> None:
        """Move the virtual clock."""
        self.control("POST", "/clock", {"now": at.isoformat()})

    def fault(self, name: str, **conditions: object) -> None:
        """Set one fault switch."""
        self.control("POST", "/faults", [{"name": name, **conditions}])


def http(port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """One plain request; status and body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@contextmanager
def serving(venue: Venue, gate: Gate) -> Iterator[ExchangeSite]:
    """Serve a venue from a thread on a free port until the block ends."""
    with listening(0) as listener:
        config = uvicorn.Config(build_application(venue, gate), log_level="error", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield ExchangeSite(listener.getsockname()[1], venue)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(timeout=10)


@contextmanager
def running_exchange(
    state: Path,
    now: datetime | None = None,
    market: TinyMarket | None = None,
    rate_limit: int = 200,
    counts_wall_time: bool = False,
    **options: Any,
) -> Iterator[ExchangeSite]:
    """An exchange on the tiny market, Thursday 10:00 unless said otherwise, with its command log in `state`."""
    log = CommandLog(state / "commands.jsonl")
    try:
        venue = Venue(market or TinyMarket(), now or ny(THU, "10:00"), ExchangeOptions(**options), 1, log)
        with serving(venue, Gate(KEY_ID, SECRET_KEY, RateLimiter(rate_limit), RateLimiter(rate_limit), counts_wall_time)) as site:
            yield site
    finally:
        log.close()


OpenExchange = Callable[..., ExchangeSite]


@pytest.fixture
def open_exchange(tmp_path: Path) -> Iterator[OpenExchange]:
    """Starts exchanges (the arguments are `running_exchange`'s) that stop when the test ends."""
    places = (tmp_path / f"exchange-{number}" for number in count())
    with ExitStack() as running:
        yield lambda *arguments, **options: running.enter_context(running_exchange(next(places), *arguments, **options))


@pytest.fixture
def site(open_exchange: OpenExchange) -> ExchangeSite:
    """An exchange in the middle of a session."""
    return open_exchange()
