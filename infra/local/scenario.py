"""The markets that the demo can trade: where prices come from, when it starts, what the desk is told to trade."""

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from closebell.configuration import read_parameters
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet, RiskLimits
from closebell.simulation.real_prices import real_desk_toml
from closebell.simulation.synthetic.listing import instruments
from closebell.simulation.synthetic.market import START
from closebell.strategies import STRATEGIES

NEW_YORK = ZoneInfo("America/New_York")
# The desk is put up on the evening before its first session, in time for that evening's decisions at 16:20.
OPENING_TIME = time(16, 15)
# The equity day is over at 17:45, with the last watch.
CLOSING_TIME = time(18, 0)


class Scenario(NamedTuple):
    """`opening` is the session whose evening the desk starts on; the sessions after it are traded."""

    name: str
    told: str
    opening: date
    markets: tuple[Market, ...]
    parameters: Callable[[], ParameterSet]

    @property
    def opens_at(self) -> datetime:
        """The first virtual instant (New York)."""
        return datetime.combine(self.opening, OPENING_TIME, NEW_YORK)


def ends_at(session: date) -> datetime:
    """When a session's runs are over and the next one's begin (New York)."""
    return datetime.combine(session, CLOSING_TIME, NEW_YORK)


def _real_parameters() -> ParameterSet:
    return read_parameters(real_desk_toml(), STRATEGIES)


def _synthetic_parameters() -> ParameterSet:
    # Room for coins beside shares: with the usual five positions of a fifth each, whichever market comes first fills the account.
    limits = RiskLimits(positions_count_max=8, position_weight_frac_max=Decimal("0.12"))
    return ParameterSet(universe=instruments(), regime_symbol="IDX0", crypto_regime_symbol="BTC/USD", limits=limits)


SCENARIOS = {
    "real": Scenario(
        name="real",
        told="real adjusted closes of 20 US stocks, autumn 2018: one price a session, so orders fill at the next close",
        opening=date(2018, 9, 28),
        markets=(Market.US_EQUITY,),
        parameters=_real_parameters,
    ),
    "synthetic": Scenario(
        name="synthetic",
        told="a SYNTHETIC market, drawn from a seed: none of these companies or prices exist",
        opening=START,
        markets=(Market.US_EQUITY, Market.CRYPTO),
        parameters=_synthetic_parameters,
    ),
}
