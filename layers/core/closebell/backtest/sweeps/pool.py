"""The points of a sweep side by side in processes."""

from collections.abc import Generator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from closebell.backtest.process_pool import DIED, ProcessPool
from closebell.backtest.run import run_backtest
from closebell.backtest.summary import summary_of
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket
from closebell.simulation.exchange.trading_floor import ExchangeOptions

Summary = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class SweepGround:
    """What all points of a sweep have in common. Called with a configuration it trades it and says the summary."""

    market: BarMarket
    options: ExchangeOptions
    first: date
    last: date

    def __call__(self, parameters: ParameterSet) -> Summary:
        return summary_of(run_backtest(self.market, parameters, self.options, first=self.first, last=self.last))


class Traded(NamedTuple):
    """What trading one configuration came to: its summary, or in words the error that ended it. `key` is the caller's own."""

    key: str
    outcome: Summary | str


class SweepPool(ProcessPool[ParameterSet, Summary]):
    """Implements `Crew` in processes: what they do with a configuration is trade it."""

    def run(self, desks: Mapping[str, ParameterSet]) -> Generator[Traded]:
        """Trade every configuration; each is handed out when it is done, in whatever order that is."""
        for key, outcome in self.ended(desks):
            match outcome:
                case BrokenProcessPool():
                    yield Traded(key, DIED)
                case BaseException():
                    yield Traded(key, f"{type(outcome).__name__}: {outcome}")
                case summary:
                    yield Traded(key, summary)
