"""Issues for the newsletter's tests: a busy day, an empty first day, and a market of 500 symbols."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from closebell.model.books import (
    Break,
    BreakKind,
    Consequence,
    EquitySnapshot,
    Lot,
    Position,
    PositionState,
    StrategyResult,
    Trade,
)
from closebell.model.broker import Account, BrokerSnapshot, VenuePosition
from closebell.model.decision import (
    Allocation,
    CheckResult,
    Decision,
    EntryMethod,
    ExitRule,
    Outcome,
    PlanAction,
    Regime,
    Stance,
    TradePlan,
    Trend,
    Volatility,
    Vote,
)
from closebell.model.instruments import Market
from closebell.model.operations import NewsItem
from closebell.reports.issue import NewsletterIssue

SESSION = date(2018, 10, 1)
NEXT_SESSION = date(2018, 10, 2)
AS_OF = datetime(2018, 10, 1, 20, 5, tzinfo=UTC)
REGIME = Regime(trend=Trend.BULL, volatility=Volatility.LOW, volatility_index_score=12.0, volatility_source="vix")
STRATEGIES = ("sma_cross", "rsi", "macd", "mean_reversion", "momentum")


def decision(symbol: str, outcome: Outcome = Outcome.NO_TRADE, **changes: object) -> Decision:
    """A decision; what is not named is a quiet day."""
    facts: dict[str, object] = {
        "market": Market.US_EQUITY, "session": SESSION, "symbol": symbol, "sector": "technology", "outcome": outcome,
        "reason": "no strategy votes", "close_usd": Decimal("100.00"), "regime": REGIME,
    }
    return Decision.model_validate(facts | changes)


def votes(buy: int = 0, sell: int = 0) -> tuple[Vote, ...]:
    """The first `buy` strategies for it, the next `sell` against it, the others neutral."""
    stances = [Stance.BUY] * buy + [Stance.SELL] * sell + [Stance.NEUTRAL] * (5 - buy - sell)
    scores = {Stance.BUY: 0.7, Stance.SELL: -0.7, Stance.NEUTRAL: 0.0}
    pairs = zip(STRATEGIES, stances, strict=True)
    return tuple(Vote(strategy=name, stance=stance, conviction_score=scores[stance]) for name, stance in pairs)


def plan(symbol: str, action: PlanAction = PlanAction.ENTER, **changes: object) -> TradePlan:
    """A plan for the next session."""
    facts: dict[str, object] = {
        "plan_id": f"{symbol}-{action}", "market": Market.US_EQUITY, "session": NEXT_SESSION, "decided_session": SESSION,
        "symbol": symbol, "sector": "technology", "action": action, "method": EntryMethod.MARKET_ON_OPEN,
        "quantity_shares": Decimal(35), "reference_price_usd": Decimal("227.26"), "reason": "3 of 5 strategies agree",
    }
    if action is PlanAction.ENTER:
        facts |= {"stop_loss_frac": Decimal("0.03"), "take_profit_frac": Decimal("0.08"), "time_stop_sessions": 5}
    return TradePlan.model_validate(facts | changes)


def position(symbol: str, shares: str, entry_usd: str, **changes: object) -> Position:
    """A protected position of one lot, opened on Wed 26 Sep 2018."""
    lot = Lot(activity_id=f"fill-{symbol}", quantity_shares=Decimal(shares), price_usd=Decimal(entry_usd), opened_at=AS_OF)
    facts: dict[str, object] = {
        "symbol": symbol, "market": Market.US_EQUITY, "sector": "energy", "state": PositionState.PROTECTED,
        "plan_id": f"{symbol}-enter",
        "lots": (lot,), "opened_session": date(2018, 9, 26), "stop_loss_frac": Decimal("0.03"),
        "take_profit_frac": Decimal("0.08"), "time_stop_sessions": 5,
    }
    return Position.model_validate(facts | changes)


def snapshot(*held: tuple[str, str, str], session: date = SESSION) -> BrokerSnapshot:
    """The broker with these (symbol, shares, market value)."""
    account = Account(
        account_number="PA1", status="ACTIVE", equity_usd=Decimal("100412.30"), last_equity_usd=Decimal("100010.20"),
        cash_usd=Decimal("82021.30"), buying_power_usd=Decimal("82021.30"), trading_blocked=False,
    )
    positions = tuple(
        VenuePosition(symbol=symbol, market=Market.US_EQUITY, quantity_shares=Decimal(shares), available_shares=Decimal(shares),
                      average_entry_price_usd=Decimal(1), market_value_usd=Decimal(value))
        for symbol, shares, value in held
    )
    return BrokerSnapshot(as_of=AS_OF, session=session, account=account, positions=positions, open_orders=())


def equity(*values_usd: str, last_session: date = SESSION) -> tuple[EquitySnapshot, ...]:
    """Reviews on consecutive days up to `last_session`, with peaks and drawdowns as the books compute them."""
    snapshots: list[EquitySnapshot] = []
    peak = previous = Decimal(values_usd[0]) if values_usd else Decimal(0)
    for index, text in enumerate(values_usd):
        value = Decimal(text)
        peak = max(peak, value)
        snapshots.append(EquitySnapshot(
            market=Market.US_EQUITY, session=last_session - timedelta(days=len(values_usd) - 1 - index), recorded_at=AS_OF,
            equity_usd=value, cash_usd=value - Decimal("18391.00"), positions_value_usd=Decimal("18391.00"),
            open_positions_count=2,
            realised_usd=Decimal("150.25"), unrealised_usd=Decimal("262.05"), day_change_usd=value - previous,
            peak_equity_usd=peak, drawdown_frac=(peak - value) / peak if peak else Decimal(0),
            strategies=(StrategyResult(strategy="sma_cross", trades_count=4, wins_count=3, pnl_usd=Decimal("310.10")),
                        StrategyResult(strategy="mean_reversion", trades_count=3, wins_count=1, pnl_usd=Decimal("-159.85"))),
        ))
        previous = value
    return tuple(snapshots)


def headline(text: str, url: str = "https://news.example.com/story?id=1&page=2", source: str = "Example Wire") -> NewsItem:
    """A headline from outside."""
    return NewsItem(news_id="n1", headline=text, source=source, url=url, symbols=("AAPL",), published_at=AS_OF)


def trade(symbol: str, pnl_usd: str, rule: ExitRule) -> Trade:
    """A round trip closed in the session."""
    return Trade(
        trade_id=f"{symbol}-1", market=Market.US_EQUITY, symbol=symbol, sector="industrials", strategies=("sma_cross",),
        quantity_shares=Decimal(120), entry_price_usd=Decimal("12.50"), exit_price_usd=Decimal("12.50") + Decimal(pnl_usd) / 120,
        pnl_usd=Decimal(pnl_usd), return_frac=Decimal(pnl_usd) / Decimal(1500), opened_session=date(2018, 9, 24),
        closed_session=SESSION, closed_at=AS_OF, exit_rule=rule,
    )


def empty_day() -> NewsletterIssue:
    """The first day: 3 symbols considered, nothing owned, nothing reviewed."""
    return NewsletterIssue(
        market=Market.US_EQUITY, session=SESSION, next_session=NEXT_SESSION,
        decisions=(
            decision("KO"), decision("PG"),
            decision("XOM", votes=votes(buy=1), reason="only 1 of the 2 votes needed to buy (sma_cross)"),
        ),
        plans=(), positions=(), snapshot=snapshot(), equity=(), trades=(), breaks=(), news=(), is_halted=False, halt_reason="",
        environment="local", source_note="simulated exchange, real prices", code_version="0.1.0+e143fb6",
    )


def busy_day() -> NewsletterIssue:
    """A day on which every section has something to say."""
    check = CheckResult(check="sector_exposure", measured=Decimal("0.66"), limit=Decimal("0.60"), unit="of equity", passed=False)
    size = Allocation(quantity_shares=Decimal(35), notional_usd=Decimal("7954.10"), weight_frac=Decimal("0.079"),
                      risk_usd=Decimal("238.62"), binding="risk_per_trade")
    return replace(
        empty_day(),
        decisions=(
            decision("AAPL", Outcome.ENTER, stance=Stance.BUY, votes=votes(buy=3), allocation=size, close_usd=Decimal("227.26"),
                     reason="3 of 5 strategies agree (sma cross, rsi, macd); sized by risk per trade"),
            decision("MSFT", Outcome.ENTER, stance=Stance.BUY, votes=votes(buy=2), allocation=size, close_usd=Decimal("115.61"),
                     reason="2 of 5 strategies agree (sma cross, rsi); sized by position weight"),
            decision("GE", Outcome.EXIT, stance=Stance.SELL, votes=votes(sell=2), close_usd=Decimal("12.09"),
                     reason="time stop: held 5 sessions, the limit is 5"),
            decision("AMD", Outcome.DENIED, stance=Stance.BUY, votes=votes(buy=3), vote_score=0.5, checks=(check,),
                     binding_check="sector_exposure",
                     reason="3 of 5 would buy (sma_cross +0.70), but sector exposure: 0.66 against a limit of 0.6 of equity"),
            decision("XOM", votes=votes(buy=1), vote_score=0.14, reason="only 1 of the 2 votes needed to buy (sma_cross)"),
            decision("BAC", stance=Stance.SELL, votes=votes(sell=3), vote_score=-0.5,
                     reason="avoid: 3 would sell (sma_cross, rsi, macd)"),
            decision("JPM", votes=votes(buy=2, sell=1), reason="conflict: 2 buy (sma_cross, rsi), 1 sell (macd)"),
            decision("CVX", Outcome.HOLD, close_usd=Decimal("124.10"), reason="above its stop, below its target, session 3 of 5"),
            decision("RRC", Outcome.SKIPPED, close_usd=None, reason="close jumped by a factor of 100.0 in one session"),
            decision("KO"), decision("PG"), decision("WMT"),
        ),
        plans=(
            plan("AAPL", priority_score=0.9, reason="3 of 5 strategies agree"),
            plan("MSFT", priority_score=0.4, quantity_shares=Decimal(70), reference_price_usd=Decimal("115.61"),
                 method=EntryMethod.LIMIT, limit_price_usd=Decimal("116.77")),
            plan("GE", PlanAction.EXIT, quantity_shares=Decimal(700), reference_price_usd=Decimal("12.09"),
                 exit_rule=ExitRule.TIME_STOP, reason="time stop: held 5 sessions, the limit is 5"),
        ),
        positions=(position("CVX", "80", "121.40"), position("GE", "700", "12.31", state=PositionState.OPEN)),
        snapshot=snapshot(("CVX", "80", "9928.00"), ("GE", "700", "8463.00")),
        equity=equity("100000.00", "100350.00", "99120.00", "100010.20", "100412.30"),
        trades=(trade("HPQ", "48.20", ExitRule.TARGET), trade("F", "-31.00", ExitRule.STOP)),
        breaks=(Break(session=SESSION, break_kind=BreakKind.QUANTITY_DIFFERS, symbol="GE", ours_shares=Decimal(700),
                      theirs_shares=Decimal(690), consequence=Consequence.FREEZE, detected_at=AS_OF,
                      note="the broker shows ten shares fewer"),),
        news=(headline("Apple <b>up</b> after AT&T deal"), headline("General Electric replaces its chief executive")),
        sessions=tuple(date(2018, 9, day) for day in (24, 25, 26, 27, 28)) + (SESSION,),
    )


def large_market(symbols_count: int = 500) -> NewsletterIssue:
    """Many symbols, every section overflowing."""
    outcomes = (Outcome.DENIED, Outcome.SKIPPED, Outcome.NO_TRADE, Outcome.NO_TRADE)
    check = CheckResult(check="positions_count", measured=Decimal(6), limit=Decimal(5), unit="positions", passed=False)
    return replace(busy_day(), decisions=tuple(
        decision(f"SYM{index:03d}", outcomes[index % 4], checks=(check,), votes=votes(buy=index % 3, sell=index % 2),
                 reason="a reason of the usual length, with a number such as 12.34 and a limit of 15.00")
        for index in range(symbols_count)
    ))
