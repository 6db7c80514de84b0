"""The exchange's own book: cash, positions and activities. It shares no code with closebell's ledger."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from hashlib import blake2b
from itertools import takewhile

from closebell.model.broker import Side
from closebell.model.instruments import Market

NINE_PLACES = Decimal("1e-9")
CENT = Decimal("0.01")
_NAMESPACE = b"closebell-simulated-exchange"


def derived_id(name: str) -> str:
    """An id in the form of a UUID, the same whenever the same commands are replayed."""
    digest = blake2b(name.encode(), digest_size=16, key=_NAMESPACE).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def truncated(quantity: Decimal, step: Decimal = NINE_PLACES) -> Decimal:
    """`quantity` rounded down (towards zero) to a multiple of `step`."""
    return (quantity / step).quantize(Decimal(1), rounding=ROUND_DOWN) * step


@dataclass(slots=True)
class HeldShares:
    """Shares held, signed, and what they cost in USD (negative for a short)."""

    market: Market
    shares: Decimal = Decimal(0)
    cost_usd: Decimal = Decimal(0)

    @property
    def average_price_usd(self) -> Decimal:
        return self.cost_usd / self.shares if self.shares else Decimal(0)


@dataclass(frozen=True, slots=True)
class AccountActivity:
    """One line of the account's history. Activity ids sort in the order of the history.

    A fill carries `order_id`, `side`, `leaves_shares`, `cumulative_shares`, and what of its cost is spread; other codes carry
    `amount_usd`. The line of its fee comes next.
    """

    activity_id: str
    code: str
    at: datetime
    day: date
    description: str
    symbol: str | None = None
    quantity_shares: Decimal = Decimal(0)
    price_usd: Decimal | None = None
    amount_usd: Decimal = Decimal(0)
    order_id: str | None = None
    side: Side | None = None
    leaves_shares: Decimal = Decimal(0)
    cumulative_shares: Decimal = Decimal(0)
    spread_usd: Decimal = Decimal(0)


@dataclass
class HiddenBook:
    """What the account really holds."""

    cash_usd: Decimal
    holdings: dict[str, HeldShares] = field(default_factory=dict)
    activities: list[AccountActivity] = field(default_factory=list)

    def shares(self, symbol: str) -> Decimal:
        """Shares held, signed; zero when there is no position."""
        holding = self.holdings.get(symbol)
        return holding.shares if holding else Decimal(0)

    def trade(self, market: Market, symbol: str, side: Side, shares: Decimal, price_usd: Decimal) -> None:
        """Book an execution: cash against shares, cost in proportion."""
        signed = shares if side is Side.BUY else -shares
        self.cash_usd -= signed * price_usd
        holding = self.holdings.setdefault(symbol, HeldShares(market))
        opens = holding.shares == 0 or (holding.shares > 0) == (signed > 0)
        if opens:
            holding.cost_usd += signed * price_usd
        else:
            holding.cost_usd += signed * holding.average_price_usd
        holding.shares += signed
        self._drop_if_flat(symbol)

    def take_shares(self, symbol: str, shares: Decimal) -> None:
        """A fee taken in the asset: the average price stays."""
        holding = self.holdings[symbol]
        holding.cost_usd -= shares * holding.average_price_usd
        holding.shares -= shares
        self._drop_if_flat(symbol)

    def split(self, symbol: str, ratio: Decimal) -> Decimal:
        """Multiply a position; returns the change in shares (zero when there is no position)."""
        holding = self.holdings.get(symbol)
        if holding is None:
            return Decimal(0)
        before = holding.shares
        holding.shares = truncated(before * ratio)
        return holding.shares - before

    def activities_after(self, activity_id: str) -> list[AccountActivity]:
        """The lines whose id sorts after a given one, in the order they were written."""
        if not activity_id:
            return list(self.activities)
        newer = takewhile(lambda line: line.activity_id > activity_id, reversed(self.activities))
        return list(newer)[::-1]

    def bust(self, activity_id: str, at: datetime) -> None:
        """Reverse an execution."""
        fill = self._fill(activity_id)
        market = Market.CRYPTO if "/" in (fill.symbol or "") else Market.US_EQUITY
        opposite = Side.SELL if fill.side is Side.BUY else Side.BUY
        self.trade(market, fill.symbol or "", opposite, fill.quantity_shares, fill.price_usd or Decimal(0))
        signed = fill.quantity_shares if opposite is Side.BUY else -fill.quantity_shares
        value = signed * (fill.price_usd or Decimal(0))
        self._add_line("TRADE_BUST", fill.symbol or "", signed, -value, f"bust of {activity_id}", at)

    def correct(self, activity_id: str, price_usd: Decimal, at: datetime) -> None:
        """Change the price of an execution."""
        fill = self._fill(activity_id)
        signed = fill.quantity_shares if fill.side is Side.BUY else -fill.quantity_shares
        difference = signed * (price_usd - (fill.price_usd or Decimal(0)))
        self.cash_usd -= difference
        if fill.symbol in self.holdings:
            self.holdings[fill.symbol].cost_usd += difference
        self._add_line("TRADE_CORRECT", fill.symbol or "", Decimal(0), -difference, f"correction of {activity_id}", at)

    def pay_dividend(self, symbol: str, a_share_usd: Decimal, at: datetime) -> None:
        """A dividend on what is held."""
        amount = (self.shares(symbol) * a_share_usd).quantize(CENT)
        if amount:
            self.cash_usd += amount
            self._add_line("DIV", symbol, Decimal(0), amount, "dividend", at)

    def charge(self, symbol: str, amount_usd: Decimal, order_id: str, at: datetime) -> None:
        """A commission on an order's execution."""
        self.cash_usd -= amount_usd
        self._add_line("FEE", symbol, Decimal(0), -amount_usd, "commission", at, order_id)

    def _fill(self, activity_id: str) -> AccountActivity:
        return next(line for line in self.activities if line.activity_id == activity_id and line.code == "FILL")

    def _add_line(
        self, code: str, symbol: str, shares: Decimal, amount_usd: Decimal, words: str, at: datetime, order_id: str | None = None
    ) -> None:
        line = AccountActivity(
            activity_id=self.next_activity_id(at), code=code, at=at, day=Market.US_EQUITY.date_of(at), symbol=symbol,
            quantity_shares=shares, amount_usd=amount_usd, description=words, order_id=order_id,
        )  # fmt: skip
        self.activities.append(line)

    def _drop_if_flat(self, symbol: str) -> None:
        if self.holdings[symbol].shares == 0:
            del self.holdings[symbol]

    def next_activity_id(self, at: datetime) -> str:
        """The id of the next line: its instant, then a UUID that begins with a counter, so ids sort."""
        number = len(self.activities)
        return f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}::{number:08x}{derived_id(f'activity/{number}')[8:]}"
