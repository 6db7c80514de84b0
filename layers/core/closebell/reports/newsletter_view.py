"""Everything a newsletter says, as finished strings. HTML and text are two settings of this one manuscript, so they cannot
state different numbers."""

from dataclasses import dataclass

from closebell.model.books import EquitySnapshot
from closebell.model.decision import Regime, Trend, Volatility
from closebell.model.instruments import Market
from closebell.reports import account_lines as account
from closebell.reports.formatting import NO_BREAK_SPACE, counted, day, instant, percent, usd
from closebell.reports.issue import NewsletterIssue
from closebell.reports.sections import MailSection, SymbolLine, Topic, sections_of
from closebell.reports.untrusted import one_line

SUBJECT_CHARS_MAX = 120
_SUBJECT_SYMBOLS_MAX = 4

_MARKETS = {Market.US_EQUITY: "US equities", Market.CRYPTO: "Crypto"}
_ENVIRONMENTS = {"local": "Local", "paper": "Paper money", "live": "LIVE MONEY"}
_TRENDS = {
    Trend.BULL: "Bull market", Trend.BEAR: "Bear market", Trend.SIDEWAYS: "Sideways market", Trend.UNKNOWN: "Trend unknown",
}
_VOLATILITIES = {
    Volatility.LOW: "low volatility", Volatility.NORMAL: "normal volatility",
    Volatility.HIGH: "high volatility", Volatility.UNKNOWN: "volatility unknown",
}


@dataclass(frozen=True, kw_only=True)
class NewsletterView:
    """The manuscript, in reading order. An empty caption means that there is no such picture."""

    subject: str
    preheader: str
    market: str
    environment: str
    is_real_money: bool
    dateline: str
    halt: str
    regime: str
    summary: str
    figures: tuple[account.KeyFigure, ...]
    sections: tuple[MailSection, ...]
    breaks: tuple[SymbolLine, ...]
    book: tuple[account.BookLine, ...]
    book_note: str
    equity_caption: str
    exposure_caption: str
    strategies: tuple[account.StrategyLine, ...]
    trades: tuple[account.TradeLine, ...]
    headlines: tuple[account.HeadlineLine, ...]
    footer: tuple[str, ...]


def view_of(issue: NewsletterIssue) -> NewsletterView:
    """Write the manuscript of an issue."""
    sections = sections_of(issue)
    regime = _regime(issue)
    summary = _summary(sections, len(issue.decisions))
    return NewsletterView(
        subject=subject_of(issue, sections), preheader=f"{regime}. {summary}",
        market=_MARKETS[issue.market], environment=_ENVIRONMENTS[issue.environment], is_real_money=issue.environment == "live",
        dateline=f"After the close of {day(issue.session)}, for {day(issue.next_session)}",
        halt=_halt(issue), regime=regime, summary=summary,
        figures=account.key_figures(issue), sections=sections, breaks=account.break_lines(issue),
        book=account.book_lines(issue), book_note=_book_note(issue),
        equity_caption=_equity_caption(issue.equity), exposure_caption=_exposure_caption(issue),
        strategies=account.strategy_lines(issue), trades=account.trade_lines(issue),
        headlines=account.headline_lines(issue.news), footer=_footer(issue),
    )


def subject_of(issue: NewsletterIssue, sections: tuple[MailSection, ...]) -> str:
    """The essentials in one line of at most 120 characters: halted or not, what is bought and sold, the equity.

    While the desk is halted nothing is bought, so the subject names no buys.
    """
    symbols = {section.topic: [line.symbol for line in section.lines] for section in sections}
    parts = ["HALTED"] if issue.is_halted else []
    if symbols.get(Topic.BUY) and not issue.is_halted:
        parts.append(f"buy {_few(symbols[Topic.BUY])}")
    if symbols.get(Topic.SELL):
        parts.append(f"sell {_few(symbols[Topic.SELL])}")
    if not parts:
        parts.append("no trades")
    desk = "closebell" if issue.market is Market.US_EQUITY else f"closebell {issue.market.value}"
    head, equity = f"{desk} · {day(issue.session)}: ", _subject_equity(issue)
    room = SUBJECT_CHARS_MAX - len(head) - len(equity)
    return head + one_line(" · ".join(parts), room) + equity


def _few(symbols: list[str]) -> str:
    rest = len(symbols) - _SUBJECT_SYMBOLS_MAX
    return ", ".join(symbols[:_SUBJECT_SYMBOLS_MAX]) + (f" +{rest}" if rest > 0 else "")


def _subject_equity(issue: NewsletterIssue) -> str:
    equity, review = account.equity_usd(issue), account.newest_review(issue)
    if equity is None:
        return ""
    change = f" ({percent(account.day_change_frac(review), signed=True)})" if review and review.session == issue.session else ""
    return f" · equity {usd(equity, 0)}{change}"


def _regime(issue: NewsletterIssue) -> str:
    if not issue.decisions:
        return "Regime not known"
    regime = issue.decisions[0].regime
    return f"{_TRENDS[regime.trend]}, {_VOLATILITIES[regime.volatility]}{_volatility_index(regime)}"


def _volatility_index(regime: Regime) -> str:
    if regime.volatility_index_score is None or regime.volatility_source == "none":
        return ""
    source = "VIX" if regime.volatility_source == "vix" else "realised, as VIX points:"
    return f" ({source} {regime.volatility_index_score:.1f})"


def _summary(sections: tuple[MailSection, ...], considered_count: int) -> str:
    counts = {section.topic: section.symbols_count for section in sections}
    topics = [topic for topic in _SUMMARY if counts.get(topic) or topic in {Topic.BUY, Topic.SELL}]
    told = [f"{counts.get(topic, 0):,}{NO_BREAK_SPACE}{_SUMMARY[topic]}" for topic in topics]
    return f"{counted(considered_count, 'symbol')} considered: {', '.join(told)}."


_SUMMARY = {
    Topic.BUY: "to buy", Topic.SELL: "to sell", Topic.WATCH: "to watch", Topic.AVOID: "to avoid", Topic.KEEP: "kept",
    Topic.SKIPPED: "skipped", Topic.QUIET: "quiet",
}


def _halt(issue: NewsletterIssue) -> str:
    if not issue.is_halted:
        return ""
    reason = one_line(issue.halt_reason).rstrip(". ") or "no reason was recorded"
    return f"The desk is halted: {reason}. It opens nothing until a human resumes it; stops and exits keep working."


def _book_note(issue: NewsletterIssue) -> str:
    if issue.positions:
        return "" if issue.snapshot else "The broker could not be read; prices are the closes decided on."
    return "No positions; everything is in cash."


def _equity_caption(equity: tuple[EquitySnapshot, ...]) -> str:
    if len(equity) < 2:
        return ""
    first, last = equity[0], equity[-1]
    worst = max(snapshot.drawdown_frac for snapshot in equity)
    return (
        f"Equity from {usd(first.equity_usd, 0)} on {day(first.session)} to {usd(last.equity_usd, 0)} on {day(last.session)}, "
        f"{counted(len(equity), 'session')}; deepest drawdown {percent(worst)}."
    )


def _exposure_caption(issue: NewsletterIssue) -> str:
    values, equity = account.exposures_usd(issue), account.equity_usd(issue)
    if not values or not equity or equity < 0:
        return ""
    largest = next(iter(values))
    return (
        f"{percent(sum(values.values()) / equity)} of equity in {counted(len(values), 'position')}; "
        f"the largest is {one_line(largest, 20)} with {percent(values[largest] / equity)}."
    )


def _footer(issue: NewsletterIssue) -> tuple[str, ...]:
    read_at = f"Broker read {instant(issue.snapshot.as_of, issue.market)}." if issue.snapshot else "Broker not read."
    return (
        f"{_ENVIRONMENTS[issue.environment]} · {one_line(issue.source_note, 400)}".rstrip(" ·"),
        f"Prices as of the close of {day(issue.session)}. {read_at}",
        "To stop the desk: closebell halt. To ask why: closebell explain SYMBOL.",
        f"closebell {one_line(issue.code_version, 40)}. A record of what a program decided, not investment advice.",
    )
