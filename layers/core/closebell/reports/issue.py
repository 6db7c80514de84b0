"""What one newsletter is made of: records in."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from closebell.model.books import Break, EquitySnapshot, Position, Trade
from closebell.model.broker import BrokerSnapshot
from closebell.model.decision import Decision, TradePlan
from closebell.model.instruments import Market
from closebell.model.operations import NewsItem

DeskEnvironment = Literal["local", "paper", "live"]


@dataclass(frozen=True, kw_only=True)
class NewsletterIssue:
    """One market's newsletter after one session.

    Parameters
    ----------
    session, next_session
        The session whose close was decided on, and the one the plans are for.
    decisions
        One a symbol considered, why and why not.
    equity
        Ascending; the last one is the newest review. Empty before the first.
    trades
        Round trips closed lately, in any order.
    source_note
        Where prices and fills come from, for example "simulated exchange, real prices".
    sessions
        The market's sessions, ascending, from before the oldest position to `session`: sessions held are counted in it.
        Without it the mail shows the day a position was opened instead.
    votes_to_act_count_min
        How many strategies must agree; one fewer puts a symbol under "watch".
    """

    market: Market
    session: date
    next_session: date
    decisions: tuple[Decision, ...]
    plans: tuple[TradePlan, ...]
    positions: tuple[Position, ...]
    snapshot: BrokerSnapshot | None
    equity: tuple[EquitySnapshot, ...]
    trades: tuple[Trade, ...]
    breaks: tuple[Break, ...]
    news: tuple[NewsItem, ...]
    is_halted: bool
    halt_reason: str
    environment: DeskEnvironment
    source_note: str
    code_version: str
    sessions: tuple[date, ...] = ()
    votes_to_act_count_min: int = 2
