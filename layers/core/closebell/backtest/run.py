"""One backtest from its request to its records."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from closebell.app.generate_signals import DecisionKeeper
from closebell.backtest.collected import collect
from closebell.backtest.engine import BacktestDesk, Progress
from closebell.backtest.known_evidence import KnownEvidence
from closebell.backtest.records import BacktestRecords
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Instrument
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet, RiskLimits
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.trading_floor import ExchangeOptions
from closebell.strategies import sessions_needed

UNSORTED = "unsorted"
"""The sector of symbols of which nobody said one."""
REGIME_SYMBOLS = ("SPY", "SPX")


@dataclass(frozen=True)
class Costs:
    """What trading costs.

    Parameters
    ----------
    slippage_bps
        What a market or stop order pays beyond the print, in hundredths of a percent; limit orders pay none.
    commission_a_share_usd, commission_an_order_usd
        The broker's; an order that trades in several parts pays its own once.
    capacity_frac
        The part of the mean volume of 20 sessions that one print offers; what is beyond it is filled later or not at all.
    """

    slippage_bps: Decimal = Decimal(0)
    commission_a_share_usd: Decimal = Decimal(0)
    commission_an_order_usd: Decimal = Decimal(0)
    capacity_frac: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        for name in ("slippage_bps", "commission_a_share_usd", "commission_an_order_usd"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}: a cost is not negative")
        if not 0 < self.capacity_frac <= 1:
            raise ConfigurationError(f"capacity_frac is {self.capacity_frac}: it is above 0 and at most 1")

    @property
    def spread_frac(self) -> Decimal:
        """The bid-ask spread whose half is the slippage."""
        return self.slippage_bps * 2 / 10_000

    def options(self, cash_usd: Decimal) -> ExchangeOptions:
        """The exchange with these costs and an account with this cash."""
        if cash_usd <= 0:
            raise ConfigurationError(f"cash is {cash_usd} USD: a backtest begins with some")
        return ExchangeOptions(
            cash_usd=cash_usd, print_share_frac=self.capacity_frac, commission_a_share_usd=self.commission_a_share_usd,
            commission_an_order_usd=self.commission_an_order_usd,
        )


def run_backtest(
    market: BarMarket, parameters: ParameterSet, options: ExchangeOptions, *, first: date | None = None, last: date | None = None,
    warnings: tuple[str, ...] = (), decisions: DecisionKeeper | None = None, progress: Progress | None = None,
    on_evidence: Callable[[KnownEvidence], None] | None = None,
) -> BacktestRecords:
    """Trade a span of a market's sessions; without one, from the first that has enough history to its last.

    Raises ConfigurationError (no session in the span, a strategy that does not exist), DataError (none of the universe's bars).
    """
    evidence = KnownEvidence(market, parameters)
    if on_evidence is not None:
        on_evidence(evidence)
    begin, end = span_of(market, parameters, first, last)
    desk = BacktestDesk(market, parameters, evidence, options, decisions)
    desk.play(begin, end, progress or _silent)
    return collect(desk, evidence, (*warnings, *_absences(evidence)))


def span_of(market: BarMarket, parameters: ParameterSet, first: date | None, last: date | None) -> tuple[date, date]:
    """The sessions to trade, first and last.

    Raises ConfigurationError when the first is after the last, or no bar is left to decide on.
    """
    days: list[date] = market.panel.sessions.astype("datetime64[D]").astype(object).tolist()
    needed = sessions_needed(parameters.strategies)
    if first is None:
        if len(days) <= needed:
            raise ConfigurationError(
                f"the bars cover {len(days)} sessions; the strategies look back {needed}, and one more is traded: "
                "bring more history, or name --from"
            )
        first = days[needed]
    last = days[-1] if last is None else min(last, days[-1])
    if first > last:
        raise ConfigurationError(f"the span from {first} to {last} is empty: the bars end on {days[-1]}")
    return first, last


def default_parameters(panel: BarPanel, strategies: tuple[str, ...]) -> ParameterSet:
    """A configuration for bars that come without one: every symbol, one sector whose limits do not bind.

    The regime is told from SPY or SPX where the bars have it, and is unknown otherwise.
    """
    regime_symbol = next((symbol for symbol in REGIME_SYMBOLS if symbol in panel.symbols), REGIME_SYMBOLS[0])
    traded = [symbol for symbol in panel.symbols if symbol != "SPX"]
    limits = RiskLimits(positions_per_sector_count_max=RiskLimits().positions_count_max, sector_exposure_frac_max=Decimal(1))
    universe = tuple(Instrument(symbol=symbol, sector=UNSORTED) for symbol in traded)
    return voted_by(ParameterSet(universe=universe, regime_symbol=regime_symbol, limits=limits), strategies)


def voted_by(parameters: ParameterSet, strategies: tuple[str, ...]) -> ParameterSet:
    """The configuration with some strategies only; no more votes are asked for than there are voters.

    Raises ConfigurationError for a strategy that does not exist.
    """
    if not strategies:
        return parameters
    sessions_needed(strategies)
    votes = min(parameters.votes_to_act_count_min, len(strategies))
    return parameters.model_copy(update={"strategies": strategies, "votes_to_act_count_min": votes})


def _absences(evidence: KnownEvidence) -> tuple[str, ...]:
    told = []
    if evidence.absent_symbols:
        told.append(f"no bars of {', '.join(evidence.absent_symbols)}: skipped in every session")
    if evidence.lacks_regime:
        told.append("no bars of the regime's symbol: the market's trend counts as unknown")
    return tuple(told)


def _silent(done: int, total: int) -> None:
    return None
