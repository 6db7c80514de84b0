"""The account as a reader sees it: the key figures, the book line by line, what each strategy earned, what was closed."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from closebell.model.books import Consequence, EquitySnapshot, Position, PositionState, Trade
from closebell.model.operations import NewsItem
from closebell.reports.formatting import (
    UNKNOWN,
    counted,
    dotted,
    percent,
    price,
    quantity,
    sentence,
    short_day,
    usd,
    words,
)
from closebell.reports.issue import NewsletterIssue
from closebell.reports.sections import SymbolLine
from closebell.reports.untrusted import host_of, one_line, plain_text, web_link

TRADES_MAX = 8
HEADLINES_MAX = 10

Tone = Literal["good", "bad", "plain"]

_STATE_NOTES: dict[PositionState, str] = {
    PositionState.OPEN: "no stop rests at the broker yet",
    PositionState.PROTECTED: "",
    PositionState.CLOSING: "being sold",
    PositionState.EXTERNAL: "yours: counted in exposure, never sold by the desk",
    PositionState.DISPUTED: "frozen: our books and the broker's differ",
    PositionState.DUST: "too small to sell",
}


_CONSEQUENCES: dict[Consequence, str] = {
    Consequence.FREEZE: "the symbol is frozen until a human looks",
    Consequence.EXTERNAL: "taken as your own position, never sold by the desk",
    Consequence.HALT: "the desk is halted",
    Consequence.REPAIR: "our books were repaired from the broker's",
}


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A number worth a large font, and what it is."""

    label: str
    value: str
    note: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True)
class BookLine:
    """One position. `last`, `pnl` and `pnl_frac` are a dash when no price is known."""

    symbol: str
    quantity: str
    entry: str
    last: str
    pnl: str
    pnl_frac: str
    tone: Tone
    held: str
    exits: str
    note: str

    @property
    def terms(self) -> str:
        """Everything but the P&L, in one row."""
        return dotted([f"{self.quantity} × {self.entry}, last {self.last}", self.held, self.exits])


@dataclass(frozen=True, kw_only=True)
class StrategyLine:
    """What one strategy earned so far."""

    strategy: str
    trades: str
    won: str
    earned: str
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class TradeLine:
    """A round trip that was closed lately."""

    symbol: str
    path: str
    rule: str
    outcome: str
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class HeadlineLine:
    """A headline; `link` is http or https, or empty."""

    headline: str
    source: str
    link: str


def tone_of(value: Decimal) -> Tone:
    """Green, red or neither; the sign always says the same in words."""
    return "good" if value > 0 else "bad" if value < 0 else "plain"


def newest_review(issue: NewsletterIssue) -> EquitySnapshot | None:
    """The last equity record; None before the first."""
    return issue.equity[-1] if issue.equity else None


def equity_usd(issue: NewsletterIssue) -> Decimal | None:
    """Equity as last reviewed, else as the broker shows it, else unknown."""
    review = newest_review(issue)
    if review is not None:
        return review.equity_usd
    return issue.snapshot.account.equity_usd if issue.snapshot else None


def day_change_frac(review: EquitySnapshot) -> Decimal:
    """The session's change over the equity it began with; 0 when it began with nothing."""
    return _over(review.day_change_usd, review.equity_usd - review.day_change_usd)


def last_prices_usd(issue: NewsletterIssue) -> dict[str, Decimal]:
    """Per owned symbol the broker's mark if it is of this session, else the decided close, else the broker's older mark."""
    snapshot = issue.snapshot
    held = [position for position in snapshot.positions if position.quantity_shares] if snapshot else []
    marks = {position.symbol: position.market_value_usd / position.quantity_shares for position in held}
    closes = {decision.symbol: decision.close_usd for decision in issue.decisions if decision.close_usd is not None}
    is_fresh = snapshot is not None and snapshot.session >= issue.session
    return closes | marks if is_fresh else marks | closes


def exposures_usd(issue: NewsletterIssue) -> dict[str, Decimal]:
    """Market value of each position with a known price, largest first."""
    prices = last_prices_usd(issue)
    values = {held.symbol: held.quantity_shares * prices[held.symbol] for held in issue.positions if held.symbol in prices}
    return dict(sorted(values.items(), key=lambda item: (-item[1], item[0])))


def key_figures(issue: NewsletterIssue) -> tuple[KeyFigure, ...]:
    """Equity, the day, the P&L since the start and what is invested; only what is known."""
    review = newest_review(issue)
    if review is None:
        equity = equity_usd(issue)
        return () if equity is None else (KeyFigure(label="Equity", value=usd(equity), note="as the broker shows it"),)
    since = "" if review.session == issue.session else f" on {short_day(review.session)}"
    total = review.realised_usd + review.unrealised_usd
    invested = _over(review.positions_value_usd, review.equity_usd)
    return (
        KeyFigure(label="Equity", value=usd(review.equity_usd), note=f"{_below_peak(review)}, cash {usd(review.cash_usd)}"),
        KeyFigure(label=f"Day{since}" if since else "Today", value=usd(review.day_change_usd, signed=True),
                  note=percent(day_change_frac(review), 2, signed=True), tone=tone_of(review.day_change_usd)),
        KeyFigure(label="P&L since start", value=usd(total, signed=True), tone=tone_of(total),
                  note=f"realised {usd(review.realised_usd, signed=True)}, unrealised {usd(review.unrealised_usd, signed=True)}"),
        KeyFigure(label="Invested", value=percent(invested), note=f"in {counted(review.open_positions_count, 'position')}"),
    )


def _below_peak(review: EquitySnapshot) -> str:
    return f"{percent(review.drawdown_frac)} below its peak" if review.drawdown_frac > 0 else "at its peak"


def book_lines(issue: NewsletterIssue) -> tuple[BookLine, ...]:
    """Every position, by symbol."""
    prices = last_prices_usd(issue)
    return tuple(_book_line(held, prices, issue) for held in sorted(issue.positions, key=lambda held: held.symbol))


def _book_line(held: Position, prices: Mapping[str, Decimal], issue: NewsletterIssue) -> BookLine:
    entry, last = held.average_entry_price_usd, prices.get(held.symbol)
    gain = None if last is None else held.quantity_shares * (last - entry)
    notes = [_STATE_NOTES[held.state], one_line(held.note, 120)]
    return BookLine(
        symbol=one_line(held.symbol, 20), quantity=quantity(held.quantity_shares), entry=price(entry),
        last=UNKNOWN if last is None else price(last),
        pnl=UNKNOWN if gain is None else usd(gain, signed=True),
        pnl_frac=UNKNOWN if gain is None or last is None else percent(_over(last - entry, entry), signed=True),
        tone="plain" if gain is None else tone_of(gain),
        held=_held(held, issue), exits=_exits(held, entry), note="; ".join(note for note in notes if note),
    )


def _held(held: Position, issue: NewsletterIssue) -> str:
    """Sessions held are counted from the session after the fill, as the time stop counts them."""
    opened = f"since {short_day(held.opened_session)}"
    if held.market is not issue.market or not issue.sessions or issue.sessions[0] > held.opened_session:
        return opened
    count = sum(held.opened_session < session <= issue.session for session in issue.sessions)
    limit = f" of {held.time_stop_sessions}" if held.time_stop_sessions is not None else ""
    return f"{opened}, {count}{limit} sessions"


def _exits(held: Position, entry: Decimal) -> str:
    stop = "no stop" if held.stop_loss_frac is None else f"stop {price(entry * (1 - held.stop_loss_frac))}"
    target = "no target" if held.take_profit_frac is None else f"target {price(entry * (1 + held.take_profit_frac))}"
    return f"{stop}, {target}"


def strategy_lines(issue: NewsletterIssue) -> tuple[StrategyLine, ...]:
    """Every strategy that closed a trade, the best first."""
    review = newest_review(issue)
    results = sorted(review.strategies, key=lambda result: (-result.pnl_usd, result.strategy)) if review else []
    return tuple(
        StrategyLine(strategy=words(one_line(result.strategy, 30)), trades=f"{result.trades_count:,}",
                     won=f"{result.wins_count:,}", earned=usd(result.pnl_usd, signed=True), tone=tone_of(result.pnl_usd))
        for result in results
    )


def trade_lines(issue: NewsletterIssue) -> tuple[TradeLine, ...]:
    """The round trips closed last, newest first."""
    newest = sorted(issue.trades, key=lambda trade: (trade.closed_at, trade.symbol), reverse=True)[:TRADES_MAX]
    return tuple(_trade_line(trade) for trade in newest)


def _trade_line(trade: Trade) -> TradeLine:
    days = f"{short_day(trade.opened_session)} to {short_day(trade.closed_session)}"
    return TradeLine(
        symbol=one_line(trade.symbol, 20), rule=words(trade.exit_rule), tone=tone_of(trade.pnl_usd),
        path=f"{quantity(trade.quantity_shares)} × {price(trade.entry_price_usd)} to {price(trade.exit_price_usd)}, {days}",
        outcome=f"{usd(trade.pnl_usd, signed=True)} ({percent(trade.return_frac, signed=True)})",
    )


def break_lines(issue: NewsletterIssue) -> tuple[SymbolLine, ...]:
    """What differs between our books and the broker's, and what follows."""
    return tuple(
        SymbolLine(
            symbol=one_line(found.symbol, 20),
            amount=f"ours {quantity(found.ours_shares)}, broker's {quantity(found.theirs_shares)}",
            terms=f"{words(found.break_kind)}: {_CONSEQUENCES[found.consequence]}", why=sentence(one_line(found.note)),
        )
        for found in issue.breaks
    )


def headline_lines(news: tuple[NewsItem, ...]) -> tuple[HeadlineLine, ...]:
    """Headlines made harmless: words only, a link only if it is a plain web address, and the host it leads to."""
    lines = []
    for item in news[:HEADLINES_MAX]:
        link = web_link(item.url)
        about = ", ".join(one_line(symbol, 20) for symbol in item.symbols[:4])
        parts = [about, plain_text(item.source, 40), host_of(link) if link else ""]
        lines.append(HeadlineLine(headline=plain_text(item.headline) or "(no headline)", link=link,
                                  source=dotted([part for part in parts if part])))
    return tuple(lines)


def _over(part: Decimal, whole: Decimal) -> Decimal:
    return part / whole if whole else Decimal(0)
