"""Autumn 2018 on real closes of 20 stocks: the whole decision path, with a book kept by the simplest of loops.

A plan fills at the next close (there is one price a session); a close 3 % below or 8 % above the entry closes a position.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from closebell.analysis.regime import regimes
from closebell.analysis.validation import bar_problems
from closebell.decision.board import SessionInputs
from closebell.decision.session import SessionDecisions, decide_session
from closebell.model.decision import Outcome, PlanAction
from closebell.model.instruments import Instrument, Market
from closebell.model.parameters import ParameterSet
from closebell.strategies import STRATEGIES, score_all
from tests.unit.analysis.real_prices import between, sp500_closes, stocks, vix
from tests.unit.decision.desks import account, desk, position, snapshot, venue_position

SECTORS_OF = {
    "AAPL": "tech", "AMD": "tech", "BAC": "banks", "BBY": "shops", "CVX": "oil", "GE": "industry", "HD": "shops", "JNJ": "health",
    "JPM": "banks", "KO": "staples", "LLY": "health", "MRK": "health", "MSFT": "tech", "PEP": "staples", "PFE": "health",
    "PG": "staples", "RRC": "oil", "UNH": "health", "WMT": "staples", "XOM": "oil",
}
PARAMETERS = ParameterSet(universe=tuple(Instrument(symbol=symbol, sector=sector) for symbol, sector in SECTORS_OF.items()))


@dataclass
class Diary:
    """What happened: entries and exits by kind, decisions by outcome, and what denied."""

    entries: list[str] = field(default_factory=list)
    exits: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    denied_by: Counter[str] = field(default_factory=Counter)


def trade(first: str, last: str) -> Diary:
    """Decide after every session of a range and fill at the next close."""
    rows = between(stocks(), "2017-01-03", last)
    panel = stocks().rows(rows)
    scores, regime = score_all(STRATEGIES, panel), regimes(panel.sessions, sp500_closes()[rows], vix())
    diary, cash, book = Diary(), 100_000.0, {}  # type: Diary, float, dict[str, tuple[float, float, int]]
    decided = SessionDecisions((), ())
    for row in range(between(panel, first, last).start, len(panel.sessions)):
        prices = dict(zip(panel.symbols, panel.close[row].tolist(), strict=True))
        for symbol, (shares, paid, _) in list(book.items()):
            if not 0.97 < prices[symbol] / paid < 1.08:
                cash += shares * prices[symbol]
                diary.exits["stop" if prices[symbol] < paid else "target"] += 1
                del book[symbol]
        for plan in decided.plans:
            shares = float(plan.quantity_shares)
            if plan.action is PlanAction.ENTER:
                cash -= shares * prices[plan.symbol]
                book[plan.symbol] = (shares, prices[plan.symbol], row)
                diary.entries.append(plan.symbol)
            elif plan.symbol in book:
                cash += shares * prices[plan.symbol]
                diary.exits[str(plan.exit_rule)] += 1
                del book[plan.symbol]
        decided = decide_session(_inputs(panel.sessions[row].astype(object), row, panel, scores, regime, prices, cash, book))
        diary.outcomes.update(decision.outcome for decision in decided.decisions)
        diary.denied_by.update(decision.binding_check for decision in decided.decisions if decision.outcome is Outcome.DENIED)
    return diary


def _inputs(session: date, row: int, panel, scores, regime, prices, cash: float, book) -> SessionInputs:  # type: ignore[no-untyped-def]  # the loop's
    worth = Decimal(str(round(cash + sum(shares * prices[symbol] for symbol, (shares, _, _) in book.items()), 2)))
    truth = snapshot(
        *(venue_position(symbol, round(shares * prices[symbol], 2), shares) for symbol, (shares, _, _) in book.items()),
        broker_account=account(last_equity_usd=worth, equity_usd=worth, buying_power_usd=round(cash, 2)),  # type: ignore[arg-type]  # money
    )
    view = desk(
        truth, positions=[position(symbol, shares=shares) for symbol, (shares, _, _) in book.items()],
        sessions_held={symbol: row - opened for symbol, (_, _, opened) in book.items()}, sectors=SECTORS_OF,
    )
    problems = bar_problems(panel, session, {}, 220)
    following = datetime.combine(session, datetime.min.time(), UTC).date()
    return SessionInputs(panel, problems, scores, regime.at(row), view, PARAMETERS, Market.US_EQUITY, session, following)


def test_ten_sessions_of_autumn_2018_trade() -> None:
    diary = trade("2018-10-01", "2018-10-12")
    assert 3 <= len(diary.entries) <= 12
    assert diary.exits["stop"] >= 1
    assert diary.exits["time_stop"] >= 1
    assert diary.denied_by["positions"] >= 1
    assert diary.outcomes[Outcome.NO_TRADE] > diary.outcomes[Outcome.ENTER]


def test_a_quarter_trades_many_symbols_and_respects_the_sectors() -> None:
    diary = trade("2018-10-01", "2018-12-31")
    assert len(diary.entries) >= 20
    assert len(set(diary.entries)) >= 8
    assert diary.denied_by["sector_positions"] >= 1
    assert diary.outcomes[Outcome.SKIPPED] == 0
