"""What the desk earned: realised and unrealised P&L, drawdown, and each strategy's share."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from closebell.model.books import EquitySnapshot, Position, StrategyResult, Trade
from closebell.model.broker import BrokerSnapshot
from closebell.model.instruments import Market

ZERO = Decimal(0)
CENT = Decimal("0.01")


class TradeTotals:
    """Trades added up in their order.

    A history that begins with the trades of the last one is added up from where that ended, so that the sessions of later years
    cost no more than the first; the sums are those of adding up from the start.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._trades: list[Trade] = []
        self._of_strategy: dict[str, tuple[int, int, Decimal]] = {}
        self.realised_usd = ZERO

    def count(self, trades: list[Trade]) -> None:
        """Make the totals those of `trades`."""
        if trades[: len(self._trades)] != self._trades:
            self._begin()
        for trade in trades[len(self._trades) :]:
            self.add(trade)
        self._trades = trades

    def add(self, trade: Trade) -> None:
        """Count one more trade."""
        self.realised_usd += trade.pnl_usd
        names = trade.strategies or ("manual",)
        for name in names:
            count, wins, pnl = self._of_strategy.get(name, (0, 0, ZERO))
            self._of_strategy[name] = (count + 1, wins + (trade.pnl_usd > 0), pnl + trade.pnl_usd / len(names))

    @property
    def strategies(self) -> tuple[StrategyResult, ...]:
        """Each strategy's trades and P&L (USD), by name.

        A trade that several strategies voted for is shared among them equally, so the shares sum to the account.
        """
        return tuple(
            StrategyResult(strategy=name, trades_count=count, wins_count=wins, pnl_usd=pnl.quantize(CENT))
            for name, (count, wins, pnl) in sorted(self._of_strategy.items())
        )


def unrealised_usd(positions: Iterable[Position], snapshot: BrokerSnapshot) -> Decimal:
    """Market value at the broker less what our lots cost (USD). The owner's own shares are left out."""
    values = {held.symbol: held.market_value_usd / held.quantity_shares for held in snapshot.positions if held.quantity_shares}
    return sum(
        (
            position.quantity_shares * (values[position.symbol] - position.average_entry_price_usd)
            for position in positions
            if position.symbol in values and position.lots
        ),
        ZERO,
    )


def snapshot_equity(
    market: Market,
    snapshot: BrokerSnapshot,
    positions: Iterable[Position],
    earned: TradeTotals,
    previous: EquitySnapshot | None,
    recorded_at: datetime,
) -> EquitySnapshot:
    """The account at the session's end; drawdown is measured from the highest equity recorded so far."""
    positions = list(positions)
    equity = snapshot.account.equity_usd
    peak = max(equity, previous.peak_equity_usd if previous else snapshot.account.last_equity_usd)
    realised = earned.realised_usd + sum((position.realised_usd for position in positions), ZERO)
    return EquitySnapshot(
        market=market,
        session=snapshot.session,
        recorded_at=recorded_at,
        equity_usd=equity,
        cash_usd=snapshot.account.cash_usd,
        positions_value_usd=sum((held.market_value_usd for held in snapshot.positions), ZERO),
        open_positions_count=len(snapshot.positions),
        realised_usd=realised.quantize(CENT),
        unrealised_usd=unrealised_usd(positions, snapshot).quantize(CENT),
        day_change_usd=equity - (previous.equity_usd if previous else snapshot.account.last_equity_usd),
        peak_equity_usd=peak,
        drawdown_frac=((peak - equity) / peak).quantize(Decimal("0.000001")) if peak else ZERO,
        strategies=earned.strategies,
    )
