"""A market small enough to read: every print is written down. For the exchange's own tests.

Its equity sessions are 6-15 March 2024: daylight saving begins on Sunday the 10th, the 13th is (invented) a half-day. Coins
trade every day. Unless a test brings tapes of its own: ACME moves by the same path each day and one dollar a day up, SPLT is
split 2 for 1 on the 12th, STOP is halted on the 8th from 10:00 to 12:30, WIDE has a spread of one percent, ONCE prints once
at the close with unknown size, THIN prints ten shares at a time, INDX is an index nobody can trade.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from closebell.model.broker import Side
from closebell.model.instruments import Market, SessionHours, crypto_session
from closebell.model.operations import NewsItem
from closebell.simulation.exchange.exchange import Exchange
from closebell.simulation.exchange.venue_orders import ExchangeOrder, OrderTicket
from closebell.simulation.market import DayBar, ListedAsset, Print, Split

NEW_YORK = Market.US_EQUITY.zone
DAYS = tuple(date(2024, 3, day) for day in (6, 7, 8, 11, 12, 13, 14, 15))
WED, THU, FRI, MON, TUE, HALF_DAY, NEXT_THU, NEXT_FRI = DAYS
COIN_DAYS = tuple(date(2024, 3, day) for day in range(4, 16))
SPLIT_DAY = TUE

Path = Sequence[tuple[str, str | int, str | int | None]]
"""Prints as (New York time, price, size); UTC for coins."""
Tapes = Mapping[str, Mapping[date, Path]]


def ny(day: date, clock: str) -> datetime:
    """A New York wall-clock instant, in UTC."""
    return datetime.combine(day, time.fromisoformat(clock), tzinfo=NEW_YORK).astimezone(UTC)


def utc(day: date, clock: str) -> datetime:
    """A UTC instant."""
    return datetime.combine(day, time.fromisoformat(clock), tzinfo=UTC)


def closes_at(day: date) -> str:
    """New York closing time of a session."""
    return "13:00" if day == HALF_DAY else "16:00"


def _default_tapes() -> dict[str, dict[date, Path]]:
    tapes: dict[str, dict[date, Path]] = {
        symbol: {} for symbol in ("ACME", "SPLT", "STOP", "WIDE", "ONCE", "THIN", "INDX", "BTC/USD")
    }
    for number, day in enumerate(DAYS):
        end, price = closes_at(day), 100 + number
        path: Path = [("09:30", price, 1000), ("10:30", price + 1, 1000), ("12:00", price - 1, 1000), (end, f"{price}.5", 1000)]
        for symbol in ("ACME", "WIDE", "INDX"):
            tapes[symbol][day] = path
        tapes["SPLT"][day] = [(clock, 200 if day < SPLIT_DAY else 100, 1000) for clock, _, _ in path]
        tapes["STOP"][day] = [("09:30", 50, 1000), ("12:30", 40, 1000), (end, 41, 1000)] if day == FRI else path
        tapes["ONCE"][day] = [(end, price, None)]
        tapes["THIN"][day] = [(clock, 20, 10) for clock, _, _ in path]
    for day in COIN_DAYS:
        tapes["BTC/USD"][day] = [("00:00", 60000, 2), ("06:00", 60600, 2), ("12:00", 59400, 2), ("23:59:59", 60000, 2)]
    return tapes


def _asset(symbol: str) -> ListedAsset:
    is_coin = "/" in symbol
    return ListedAsset(
        symbol=symbol,
        name=f"{symbol} (invented)",
        market=Market.CRYPTO if is_coin else Market.US_EQUITY,
        exchange="CRYPTO" if is_coin else "NASDAQ",
        tradable=symbol != "INDX",
        fractionable=symbol != "SPLT",
        shortable=not is_coin and symbol != "SPLT",
        increment_shares=Decimal("1e-9") if is_coin else Decimal(1),
        spread_frac=Decimal("0.01") if symbol == "WIDE" else Decimal(0),
    )


class TinyMarket:
    """A `SimulatedMarket` over tapes that a test writes down."""

    label = "TINY market for tests"
    is_synthetic = True

    def __init__(self, tapes: Tapes | None = None, splits: Mapping[str, tuple[Split, ...]] | None = None) -> None:
        chosen = _default_tapes() if tapes is None else tapes
        self._splits = {"SPLT": (Split(SPLIT_DAY, Decimal(2)),)} if splits is None else dict(splits)
        self._tapes = {
            (symbol, day): tuple(_print(symbol, day, *facts) for facts in path)
            for symbol, paths in chosen.items()
            for day, path in paths.items()
        }
        self._symbols = tuple(chosen)

    def assets(self) -> tuple[ListedAsset, ...]:
        return tuple(_asset(symbol) for symbol in self._symbols)

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        if market is Market.CRYPTO:
            return tuple(crypto_session(day) for day in COIN_DAYS)
        return tuple(SessionHours(session=day, opens_at=ny(day, "09:30"), closes_at=ny(day, closes_at(day))) for day in DAYS)

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        return self._tapes.get((symbol, session), ())

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        days = sorted(day for name, day in self._tapes if name == symbol and first <= day <= last)
        return tuple(_bar(day, self._tapes[symbol, day]) for day in days if self._tapes[symbol, day])

    def splits(self, symbol: str) -> tuple[Split, ...]:
        return self._splits.get(symbol, ())

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        return ((ny(FRI, "10:00"), ny(FRI, "12:30")),) if (symbol, session) == ("STOP", FRI) else ()

    def volatility_index(self) -> Mapping[date, Decimal]:
        return {day: Decimal(14 + number) for number, day in enumerate(DAYS)}

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        if session not in (WED, THU):
            return ()
        return tuple(
            NewsItem(
                news_id=f"{session}-{number}",
                headline=f"ACME headline {number}",
                source="invented",
                url="https://example.org/acme",
                symbols=("ACME",),
                published_at=ny(session, "08:00") + timedelta(minutes=number),
            )
            for number in range(3)
        )


def one_symbol(path: Path, day: date = THU, symbol: str = "ACME") -> TinyMarket:
    """A market of one symbol at 100 on the Wednesday, and on `day` the path that is tested."""
    zone_day: dict[date, Path] = {WED: [("15:59", 100, None)], day: path}
    return TinyMarket({symbol: zone_day})


_DECIMALS = ("_usd", "_frac", "_shares")


def send(
    exchange: Exchange, side: str, order_type: str, time_in_force: str = "day", shares: int | str | None = 10, **terms: Any
) -> ExchangeOrder:
    """Submit an order for ACME (or `symbol=`); further terms by their names in OrderTicket, numbers in any form."""
    numbers = {name: Decimal(str(value)) if name.endswith(_DECIMALS) else value for name, value in terms.items()}
    ticket = {"symbol": "ACME", "quantity_shares": None if shares is None else Decimal(shares)} | numbers
    return exchange.submit(OrderTicket(side=side, order_type=order_type, time_in_force=time_in_force, **ticket))


def own(exchange: Exchange, shares: int | str = 10, symbol: str = "ACME") -> None:
    """Let the account own shares, bought by hand at the quote."""
    exchange.trade_manually(symbol, Side.BUY, Decimal(shares))


def _print(symbol: str, day: date, clock: str, price: str | int, size: str | int | None) -> Print:
    at = utc(day, clock) if "/" in symbol else ny(day, clock)
    return Print(at, Decimal(price), None if size is None else Decimal(size))


def _bar(day: date, prints: tuple[Print, ...]) -> DayBar:
    prices = [one.price_usd for one in prints]
    sizes = [one.size_shares for one in prints]
    volume = None if None in sizes else sum((size for size in sizes if size is not None), Decimal(0))
    return DayBar(day, prices[0], max(prices), min(prices), prices[-1], volume)
