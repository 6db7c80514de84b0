"""What `backtest`, `compare`, `sweep` and `validate` are asked alike: which bars, costs, cash, sessions and configuration."""

from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from closebell import strategies as registry
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.adapters.system_clock import SystemClock
from closebell.backtest.desk.known_evidence import traded_instruments
from closebell.backtest.markets import NamedMarket, demo_market, synthetic_days
from closebell.backtest.notes.evidence import not_yet_note
from closebell.backtest.run import Costs, default_parameters, voted_by
from closebell.cli.application import DAY, progress_bar, read_day
from closebell.cli.strategy_file import FileScores
from closebell.configuration import read_parameters
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket, hours_of

Bars = Annotated[str, typer.Option(metavar="FOLDER", help="Folder of SYMBOL.csv or SYMBOL.parquet; or demo, or synthetic.")]
AssetClass = Annotated[Market, typer.Option("--market", help="What the files hold, shares or crypto pairs (BTC-USD.csv).")]
Workers = Annotated[int, typer.Option(min=1, max=256, metavar="COUNT", help="Processes.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the results.")]
Strategies = Annotated[
    str, typer.Option(metavar="NAMES", help="Names with commas between; the configuration's if left out.")
]
OwnFile = Annotated[
    Path | None,
    typer.Option(
        "--strategy-file", metavar="FILE",
        help="A Python file of yours with a strategy, which votes alone unless --strategies names it and others.",
    ),
]
Since = Annotated[date | None, typer.Option("--from", parser=read_day, metavar=DAY, help="First session traded.")]
Until = Annotated[date | None, typer.Option("--to", parser=read_day, metavar=DAY, help="Last session traded.")]
Cash = Annotated[str, typer.Option(metavar="USD", help="At the start.")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="The desk's configuration, as in examples/desk.toml.")]
SlippageBps = Annotated[
    str,
    typer.Option(
        metavar="BPS",
        help="What a market or stop order pays beyond the price, in 0.01 %: 5, or a share of the spread, 0.5*10.",
    ),
]
PerShare = Annotated[str, typer.Option("--commission-per-share", metavar="USD", help="Of each share.")]
PerOrder = Annotated[str, typer.Option("--commission-per-order", metavar="USD", help="Of each order that trades.")]
PerRoundTrip = Annotated[
    str,
    typer.Option(
        "--commission-per-round-trip", metavar="USD", help="Half when a holding begins, the rest when it ends."
    ),
]
Capacity = Annotated[
    str,
    typer.Option(
        metavar="FRAC",
        help="Part of the mean daily volume that each of the 4 prices of a bar offers; of a coin's 49, 4/49 of it.",
    ),
]
Gaps = Annotated[
    bool, typer.Option("--allow-gaps", help="Take a session that a file lacks for one without trading; otherwise it is an error.")
]


def costs_of(slippage_bps: str, per_share: str, per_order: str, per_round_trip: str, capacity: str) -> Costs:
    """The costs as the options say them. Raises ConfigurationError."""
    return Costs(
        slippage_bps=_slippage_of(slippage_bps),
        commission_a_share_usd=amount_of("--commission-per-share", per_share),
        commission_an_order_usd=amount_of("--commission-per-order", per_order),
        commission_a_round_trip_usd=amount_of("--commission-per-round-trip", per_round_trip),
        capacity_frac=amount_of("--capacity", capacity),
    )


def _slippage_of(text: str) -> Decimal:
    """Basis points: `5`, or `0.5*10` for half of a spread of ten. Raises ConfigurationError."""
    share, star, spread = text.partition("*")
    if not star:
        return amount_of("--slippage-bps", text)
    try:
        share_frac, spread_bps = (amount_of("--slippage-bps", part) for part in (share, spread))
    except ConfigurationError as error:
        raise ConfigurationError(f"--slippage-bps is {text!r}: a share of the spread is written like 0.5*10") from error
    if not 0 <= share_frac <= 1:
        raise ConfigurationError(f"--slippage-bps is {text}: a share of the spread is 0 to 1, as in 0.5*10")
    return share_frac * spread_bps


def market_named(
    bars: str, costs: Costs, *, gaps_are_allowed: bool = False, market: Market = Market.US_EQUITY
) -> NamedMarket:
    """The market that `--bars` names. Raises ConfigurationError, DataError (files that are wrong)."""
    calendar = ExchangeCalendar()
    costs.require_charged_in(market)
    if bars == "demo" and market is not Market.US_EQUITY:
        raise ConfigurationError("the demo's prices are of shares: name a folder of pairs, such as BTC-USD.csv, or synthetic")
    if bars == "demo":
        return demo_market(calendar, costs.spread_frac)
    if bars == "synthetic":
        return synthetic_days(calendar, costs.spread_frac, market=market)
    # pandas is imported only where files are read
    from closebell.adapters.bar_files import adjusted_closes_note, left_out_note, read_bar_folder, read_splits

    folder = Path(bars)
    with progress_bar("reading", "files") as progress:
        panel = read_bar_folder(
            folder, lambda first, last: {hours.session for hours in calendar.sessions(market, first, last)},
            gaps_are_allowed=gaps_are_allowed, market=market, progress=progress,
        )  # fmt: skip
    found = BarMarket(
        panel, hours_of(calendar, panel, market), splits=read_splits(folder, panel), spread_frac=costs.spread_frac,
        label=f"{folder}", asset_class=market, account_hours=hours_of(calendar, panel),
    )  # fmt: skip
    notes = (*left_out_note(folder), *adjusted_closes_note(folder), *not_yet_note(panel, SystemClock().now().date()))
    return NamedMarket(found, default_parameters(found.panel, (), market), notes)


def desk_parameters(found: NamedMarket, config: Path | None, strategies: tuple[str, ...]) -> ParameterSet:
    """The configuration of a file, or the market's own, with some strategies only. Raises ConfigurationError."""
    if config is None:
        return voted_by(found.parameters, strategies)
    try:
        text = config.read_text()
    except OSError as error:
        raise ConfigurationError(f"the configuration {config} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the configuration {config} is no UTF-8 text: {error}") from error
    parameters = voted_by(read_parameters(text, registry.STRATEGIES), strategies)
    traded_instruments(parameters, found.market.asset_class)  # refused before anything is written
    return parameters


def amount_of(option: str, text: str) -> Decimal:
    """An option's number. Raises ConfigurationError when it is none."""
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise ConfigurationError(f"{option} is {text!r}: write a number, such as 5 or 0.005") from error
    if not amount.is_finite():
        raise ConfigurationError(f"{option} is {text!r}: write a finite number")
    return amount


def names_in(text: str, own: FileScores | None = None) -> tuple[str, ...]:
    """Names with commas between; where nothing is written that of the user's own strategy, or none.

    Raises ConfigurationError for commas alone, and for the name of a file.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise ConfigurationError(f"--strategies is {text!r}: write names with commas between, or leave it out for all of them")
    for name in names:
        if name.endswith(".py"):
            raise ConfigurationError(f"--strategies takes names, and {name} is a file: write --strategy-file {name}")
    return names or ((own.name,) if own else ())
