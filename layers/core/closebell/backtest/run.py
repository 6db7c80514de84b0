"""One backtest from its request to its records."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from closebell.app.evidence import sessions_judged
from closebell.backtest.desk.collected import collect
from closebell.backtest.desk.engine import BacktestDesk
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.notes.desk import desk_notes
from closebell.backtest.notes.evidence import universe_notes
from closebell.backtest.notes.idle import idle_notes
from closebell.backtest.records import BacktestRecords
from closebell.model.decision import Decision
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Instrument, Market
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet, RiskLimits
from closebell.ports.progress import Progress, untold
from closebell.reports.formatting import counted
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.strategies import sessions_needed

CASH_USD_MAX = 10**12
"""Fractions of a cent are still told apart beside so much."""
COMMISSION_USD_MAX = 10_000
SLIPPAGE_BPS_MAX = 1000
COVERAGE_FRAC_MIN = Decimal("0.000001")
UNSORTED = "unsorted"
"""The sector of symbols of which nobody said one."""
REGIME_SYMBOLS = ("SPY", "SPX")


@dataclass(frozen=True)
class Costs:
    """What trading costs.

    Parameters
    ----------
    slippage_bps
        What an order that does not wait pays beyond the price, in hundredths of a percent; one that rests at its limit pays none.
    commission_a_share_usd, commission_an_order_usd, commission_a_round_trip_usd
        The broker's; an order that trades in several parts pays its own once. A round trip pays half when a holding begins and
        the rest when it ends, however many orders that takes.
    capacity_frac
        The part of the mean volume of 20 sessions that each of a session's four prices offers, and that a coin's 49 offer four
        49ths of; what is beyond it is filled later or not at all.
    """

    slippage_bps: Decimal = Decimal(0)
    commission_a_share_usd: Decimal = Decimal(0)
    commission_an_order_usd: Decimal = Decimal(0)
    capacity_frac: Decimal = Decimal(1)
    commission_a_round_trip_usd: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        charged = {
            "slippage": self.slippage_bps, "commission a share": self.commission_a_share_usd,
            "commission an order": self.commission_an_order_usd, "commission a round trip": self.commission_a_round_trip_usd,
        }  # fmt: skip
        for name, cost in charged.items():
            if cost < 0:
                raise ConfigurationError(f"the {name} is {cost}: a cost is not negative")
        if self.slippage_bps > SLIPPAGE_BPS_MAX:
            raise ConfigurationError(f"the slippage is {self.slippage_bps} bps: at most {SLIPPAGE_BPS_MAX}, a tenth of the price")
        if max(self.commissions_usd) > COMMISSION_USD_MAX:
            raise ConfigurationError(f"a commission is above {COMMISSION_USD_MAX:,} USD: no broker takes that")
        if not 0 < self.capacity_frac <= 1:
            raise ConfigurationError(f"the capacity is {self.capacity_frac}: a part above 0 and at most 1 of the mean volume")

    def require_charged_in(self, market: Market) -> None:
        """Refuse commissions that a market does not have. Raises ConfigurationError."""
        if market is Market.CRYPTO and any(self.commissions_usd):
            raise ConfigurationError(
                "commissions are of shares: a crypto trade pays Alpaca's fee, 0.25 % of what is received (0.15 % at a limit that "
                "has rested), and that is counted"
            )

    @property
    def commissions_usd(self) -> tuple[Decimal, ...]:
        return self.commission_a_share_usd, self.commission_an_order_usd, self.commission_a_round_trip_usd

    @property
    def spread_frac(self) -> Decimal:
        """The bid-ask spread whose half is the slippage."""
        return self.slippage_bps * 2 / 10_000

    def options(self, cash_usd: Decimal) -> ExchangeOptions:
        """The exchange with these costs and an account with this cash."""
        if not 1 <= cash_usd <= CASH_USD_MAX:
            raise ConfigurationError(f"cash is {cash_usd} USD: a backtest begins with 1 to {CASH_USD_MAX:,} USD")
        return ExchangeOptions(
            cash_usd=cash_usd, print_share_frac=self.capacity_frac, commission_a_share_usd=self.commission_a_share_usd,
            commission_an_order_usd=self.commission_an_order_usd, commission_a_round_trip_usd=self.commission_a_round_trip_usd,
        )


def run_backtest(
    market: BarMarket, parameters: ParameterSet, options: ExchangeOptions, *, first: date | None = None, last: date | None = None,
    warnings: tuple[str, ...] = (), decisions: list[Decision] | None = None, progress: Progress = untold,
    on_evidence: Callable[[KnownEvidence], None] | None = None,
) -> BacktestRecords:
    """Trade a span of a market's sessions; without one, from the first that has enough history to its last.

    Raises ConfigurationError (no session in the span, a strategy that does not exist), DataError (none of the universe's bars).
    """
    evidence = KnownEvidence(market, parameters)
    if on_evidence is not None:
        on_evidence(evidence)
    begin, end = span_of(market, parameters, first, last)
    late = [f"the bars begin on {market.panel.days[0]}: traded from {begin} on"] if first is not None and first < begin else []
    desk = BacktestDesk(market, parameters, evidence, options, decisions)
    desk.play(begin, end, progress)
    skipped = sorted(evidence.faulty.items())
    faulty = [f"{symbol} was skipped after {counted(count, 'session')}: {why}" for symbol, (count, why) in skipped]
    records = collect(desk, evidence)
    idle = idle_notes(desk, records, evidence.evenings(begin, end))
    told = (*warnings, *late, *universe_notes(evidence, begin, end), *faulty, *desk_notes(records, desk.alerts.alerts), *idle)
    return replace(records, warnings=told, terms=_terms(market, parameters, options))


def _terms(market: BarMarket, parameters: ParameterSet, options: ExchangeOptions) -> dict[str, Any]:
    """What somebody needs, beside the bars, to make the same results again."""
    return {
        "market": market.asset_class,
        "slippage_bps": float(market.spread_frac * 10_000 / 2),
        "commission_a_share_usd": float(options.commission_a_share_usd),
        "commission_an_order_usd": float(options.commission_an_order_usd),
        "commission_a_round_trip_usd": float(options.commission_a_round_trip_usd),
        "capacity_frac": float(options.print_share_frac),
        "configuration": parameters.model_dump(mode="json"),
    }


def span_of(market: BarMarket, parameters: ParameterSet, first: date | None, last: date | None) -> tuple[date, date]:
    """The sessions to trade, first and last: none before the second that there are bars of, as the first is decided on.

    Raises ConfigurationError when there are no bars in that span, or too few to decide on.
    """
    days = market.panel.days
    needed = sessions_judged(parameters)
    if first is None:
        if len(days) <= needed:
            raise ConfigurationError(
                f"the bars cover {len(days)} sessions; the strategies look back {needed}, and one more is traded: "
                "bring more history, or name --from"
            )
        first = days[needed]
        if last is not None and last < first:
            raise ConfigurationError(f"{last} is before {first}, the first session with the {needed} before it that count")
    end = days[-1] if last is None else last
    if not any(first <= day <= end for day in days):
        span = f"from {first}" if last is None else f"from {first} to {last}"
        raise ConfigurationError(f"there is no session {span}: the bars are of {days[0]} to {days[-1]}")
    return max(first, *days[1:2]), min(end, days[-1])


def default_parameters(panel: BarPanel, strategies: tuple[str, ...], market: Market = Market.US_EQUITY) -> ParameterSet:
    """A configuration for bars that come without one: every symbol, one sector whose limits do not bind, and no share of them
    that must have bars, as some may be listed late and others delisted.

    The regime is told from SPY or SPX (of crypto from BTC/USD) where the bars have it, and is unknown otherwise. Raises
    ConfigurationError when there is nothing to trade.
    """
    regime_symbol = next((symbol for symbol in REGIME_SYMBOLS if symbol in panel.symbols), REGIME_SYMBOLS[0])
    traded = [symbol for symbol in panel.symbols if symbol != "SPX"]
    if not traded:
        raise ConfigurationError("the bars are of SPX alone, an index that nobody can buy: add the symbols to trade")
    limits = RiskLimits(
        positions_per_sector_count_max=RiskLimits().positions_count_max, sector_exposure_frac_max=Decimal(1),
        universe_coverage_frac_min=COVERAGE_FRAC_MIN,
    )
    universe = tuple(Instrument(symbol=symbol, sector=UNSORTED, market=market) for symbol in traded)
    return voted_by(ParameterSet(universe=universe, regime_symbol=regime_symbol, limits=limits), strategies)


def voted_by(parameters: ParameterSet, strategies: tuple[str, ...]) -> ParameterSet:
    """The configuration with some strategies only; no more votes are asked for than there are voters.

    Raises ConfigurationError for a strategy that does not exist, or stands twice.
    """
    if not strategies:
        return parameters
    if len(set(strategies)) < len(strategies):
        raise ConfigurationError(f"{', '.join(strategies)}: a strategy votes once, name it once")
    sessions_needed(strategies)
    votes = min(parameters.votes_to_act_count_min, len(strategies))
    return parameters.model_copy(update={"strategies": strategies, "votes_to_act_count_min": votes})
