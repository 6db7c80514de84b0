"""What a simulated exchange trades on: a market whose whole future is known to the simulation and to nobody else."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol, runtime_checkable

from closebell.model.instruments import Market, SessionHours
from closebell.model.operations import NewsItem


class Print(NamedTuple):
    """A trade on the tape: instant (UTC), price (USD, as traded then: not adjusted) and size (None when unknown).

    `is_path`: the price came here from the session's print before through every price between, as inside a daily bar.
    """

    at: datetime
    price_usd: Decimal
    size_shares: Decimal | None
    is_path: bool = False


class DayBar(NamedTuple):
    """A session's bar as traded (not adjusted). A session with one price has open = high = low = close.

    `volume_shares` is None when the source does not know it."""

    session: date
    open_usd: Decimal
    high_usd: Decimal
    low_usd: Decimal
    close_usd: Decimal
    volume_shares: Decimal | None


class ListedAsset(NamedTuple):
    """An asset as `/v2/assets` shows it. `increment_shares` is the quantity step; `spread_frac` the bid-ask spread
    over price (0 when unknown)."""

    symbol: str
    name: str
    market: Market
    exchange: str
    tradable: bool
    fractionable: bool
    shortable: bool
    increment_shares: Decimal
    spread_frac: Decimal


class Split(NamedTuple):
    """From `ex_session` on, each old share is `ratio` new ones."""

    ex_session: date
    ratio: Decimal


class PriceBand(NamedTuple):
    """The prices (USD) between two bounds, which are not part of it; None: there is no bound on that side."""

    above_usd: Decimal | None
    below_usd: Decimal | None


class SimulatedMarket(Protocol):
    """Read-only; equal for equal seeds. Sessions are ascending, prints of a session ascending in time.

    The first print of a session is its opening auction, the last its close. Where a source has one price a session, that
    print is both, at the close: an `opg` order then fills there.
    """

    label: str
    is_synthetic: bool

    def assets(self) -> tuple[ListedAsset, ...]:
        """Everything listed, including reference symbols that are not tradable (an index)."""

    def sessions(self, market: Market) -> tuple[SessionHours, ...]:
        """Every session of the market's history."""

    def prints(self, symbol: str, session: date) -> tuple[Print, ...]:
        """The session's tape; empty when the symbol did not trade (halted all day, not listed)."""

    def day_bars(self, symbol: str, first: date, last: date) -> tuple[DayBar, ...]:
        """Bars of the sessions `first`..`last` that traded."""

    def splits(self, symbol: str) -> tuple[Split, ...]:
        """Its splits, ascending."""

    def halts(self, symbol: str, session: date) -> tuple[tuple[datetime, datetime], ...]:
        """Spans (UTC) in which the symbol's trading is halted."""

    def volatility_index(self) -> Mapping[date, Decimal]:
        """VIX closes; empty when the source has none."""

    def headlines(self, session: date) -> tuple[NewsItem, ...]:
        """News published on a date."""


@runtime_checkable
class SearchableMarket(Protocol):
    """A market of bars, which knows without its tape how a session closed, and when a symbol next trades at certain prices: till
    then resting orders need not be looked at. Only the simulation may ask."""

    asset_class: Market

    def close_usd(self, symbol: str, session: date) -> Decimal | None:
        """The price of a session's last print; None when it has none."""

    def print_instants(self, session: date) -> tuple[datetime, ...]:
        """When anything can print in a session (UTC), ascending."""

    def first_session_outside(self, symbol: str, first: date, band: PriceBand) -> date:
        """The first session from `first` on in which a price outside the band may trade; `date.max` when there is none."""
