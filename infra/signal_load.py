"""`generate_signals` under load: 500 symbols x 300 sessions over HTTP, decided in one process.

    python -m infra.profile_functions --rss-of infra.signal_load:decide_500_symbols

A child process serves seeded bars as Alpaca does, so that the measured process holds only what a Lambda would hold.
"""

import json
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from urllib.parse import parse_qs, urlsplit

SYMBOLS_COUNT, SESSIONS_COUNT, BARS_A_PAGE = 500, 300, 10_000
FIRST, DECIDED = date(2023, 1, 2), date(2024, 5, 31)
SYMBOLS = tuple(f"S{number:03d}" for number in range(SYMBOLS_COUNT))


def bars_of(symbol: str, sessions: list[date]) -> list[dict[str, object]]:
    """A seeded random walk, one bar a session, in the shape of Alpaca's."""
    draw, close, bars = Random(symbol), 100.0, []  # noqa: S311 - seeded data for a measurement, no secret
    for session in sessions:
        opening, close = close, close * (1 + draw.gauss(0.0004, 0.015))
        high, low = max(opening, close) * 1.004, min(opening, close) * 0.996
        prices = {"o": round(opening, 2), "h": round(high, 2), "l": round(low, 2), "c": round(close, 2)}
        bars.append({"t": f"{session}T04:00:00Z", **prices, "v": draw.randrange(10**5, 10**7), "n": 1000, "vw": round(close, 2)})
    return bars


class BarServer(BaseHTTPRequestHandler):
    """Serves pages of 10 000 bars, the VIX's absence, and no splits or news."""

    sessions: list[date]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.endswith("/stocks/bars"):
            self._answer(self._page(query["symbols"].split(","), int(query.get("page_token", "0"))))
        elif url.path.endswith("/corporate-actions"):
            self._answer({"corporate_actions": {}, "next_page_token": None})
        elif url.path.endswith("/news"):
            self._answer({"news": [], "next_page_token": None})
        else:
            self.send_error(404)

    def _page(self, symbols: list[str], start: int) -> dict[str, object]:
        a_page = BARS_A_PAGE // len(self.sessions)
        chosen, rest = symbols[start : start + a_page], symbols[start + a_page :]
        return {
            "bars": {symbol: bars_of(symbol, self.sessions) for symbol in chosen},
            "next_page_token": str(start + a_page) if rest else None,
        }

    def _answer(self, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the measured process reads this one's output."""


def serve() -> None:
    """Serve until the parent closes our standard input, or dies."""
    BarServer.sessions = [date.fromisoformat(line) for line in sys.stdin.readline().split()]
    server = HTTPServer(("127.0.0.1", 0), BarServer)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def decide_500_symbols() -> None:
    """Run the use case once: the adapters real, the stores in memory. Fails unless every symbol is decided."""
    from closebell.adapters.alpaca_data import AlpacaMarketData
    from closebell.adapters.alpaca_news import AlpacaNews
    from closebell.adapters.cboe import CboeVolatilityIndex
    from closebell.adapters.exchange_calendar import ExchangeCalendar
    from closebell.adapters.system_clock import SystemClock
    from closebell.app.control import store_parameters
    from closebell.app.evidence import MarketEvidence
    from closebell.app.generate_signals import GenerateSignals
    from closebell.app.runs import RunLog
    from closebell.model.broker import Account, BrokerSnapshot
    from closebell.model.instruments import Instrument, Market
    from closebell.model.operations import Alert, Trigger
    from closebell.model.parameters import ParameterSet
    from closebell.ports.journal import Create
    from closebell.simulation.memory_archive import MemoryArchive
    from closebell.simulation.memory_journal import MemoryJournal

    class Quiet:
        def publish(self, alert: Alert) -> None:
            raise AssertionError(alert.body)

    calendar, journal = ExchangeCalendar(), MemoryJournal()
    sessions = [hours.session for hours in calendar.sessions(Market.US_EQUITY, FIRST, DECIDED)][-SESSIONS_COUNT:]
    universe = tuple(Instrument(symbol=symbol, sector=f"sector {int(symbol[1:]) % 11}") for symbol in SYMBOLS)
    store_parameters(journal, ParameterSet(universe=universe, regime_symbol=SYMBOLS[0], history_sessions=SESSIONS_COUNT))
    at = datetime(DECIDED.year, DECIDED.month, DECIDED.day, 20, 20, tzinfo=UTC)
    money = Decimal(100_000)
    account = Account(
        account_number="PA1", status="ACTIVE", equity_usd=money, last_equity_usd=money, cash_usd=money, buying_power_usd=money,
        trading_blocked=False,
    )
    snapshot = BrokerSnapshot(as_of=at - timedelta(minutes=10), session=DECIDED, account=account, positions=(), open_orders=())
    journal.commit([Create(snapshot)])
    command = [sys.executable, "-S", "-c", "from infra.signal_load import serve; serve()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            if server.stdin is None or server.stdout is None:
                raise AssertionError("both pipes were asked for")
            print(*sessions, file=server.stdin, flush=True)
            origin = f"http://127.0.0.1:{int(server.stdout.readline())}"
            decide = GenerateSignals(
                RunLog("generate_signals", "profile", journal, SystemClock(), Quiet()), journal,
                MemoryArchive(),
                MarketEvidence(
                    AlpacaMarketData("key", "secret", origin), CboeVolatilityIndex(f"{origin}/VIX_History.csv", 5.0)
                ),
                AlpacaNews("key", "secret", origin), calendar, "profile",
            )
            run = decide(Trigger(market=Market.US_EQUITY, scheduled_at=at))
        finally:
            server.kill()
    if run.counts["decisions"] != SYMBOLS_COUNT or run.counts["skipped"]:
        raise AssertionError(f"not every symbol was decided: {run.counts}")
