"""What the two functions that may trade work with."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from closebell.app.guarded_broker import GuardedBroker, Reopen, RequestBudget, same_key
from closebell.app.lease import Turn
from closebell.app.runs import RunLog, RunOutcome
from closebell.model.broker import Account, MarketClock
from closebell.model.errors import RunRefused
from closebell.model.operations import Lease, RunRecord, Trigger
from closebell.ports.broker import Broker
from closebell.ports.journal import Journal

LEFT_TO_ANOTHER = "left_to_another"
"""The count in the record of a run that found another one at work and did nothing."""

PAPER_PREFIX = "PA"
"""How the numbers of Alpaca's paper accounts begin, and of no other."""


@dataclass(frozen=True)
class TradingRoom:
    """The broker, and the run log with the journal and the owner's inbox behind it; `environment` is local, paper or live.

    `run_alone` lets one run in: inside, the journal is bound to the lease and the broker to the run's budget.
    """

    runs: RunLog
    broker: Broker
    environment: str
    reopen: Reopen = same_key
    budget: RequestBudget = field(default_factory=RequestBudget)
    leased: Journal | None = None

    @property
    def journal(self) -> Journal:
        """Where a run writes. A halt goes into `runs.journal` instead: no lease may refuse it."""
        return self.leased or self.runs.journal

    @property
    def allows_entry(self) -> bool:
        """Whether the minute's requests have room for an entry."""
        return self.budget.allows_entry(self.runs.clock.now())

    def run_alone(self, trigger: Trigger, work: Callable[["TradingRoom", MarketClock], RunOutcome]) -> RunRecord:
        """`RunLog.run_once` while no other trading run is at work; one that finds another ends quietly.

        `work` gets the room it may use and the broker's clock as first read. It is repeated once after a lost race: a run that
        was taken over from by a later delivery of itself does not take the desk back.
        """
        budget = RequestBudget()
        broker = GuardedBroker(self.broker, budget, self.runs.clock.now, self.reopen)
        room, turn = replace(self, broker=broker, budget=budget), Turn.of(self.runs.journal, self.runs.function, trigger)
        return self.runs.run_once(trigger, lambda: room._in_turn(turn, work))

    def _in_turn(self, turn: Turn, work: Callable[["TradingRoom", MarketClock], RunOutcome]) -> RunOutcome:
        clock, began_at = self.broker.clock(), self.runs.clock.now()
        taken = turn.take(clock.now_at)
        if isinstance(taken, Lease):
            return _left_to(taken)
        self.budget.inherit(turn.inherited_count, began_at)

        def release() -> None:
            ended_at = self.runs.clock.now()
            turn.release(clock.now_at + (ended_at - began_at), self.budget.asked_count(ended_at))

        try:
            outcome = work(replace(self, leased=taken), clock)
        except Exception:
            release()
            raise
        release()
        return outcome

    def desk_name(self, account: Account) -> str:
        """Environment and account: what keeps the order ids of two desks apart."""
        return f"{self.environment}|{account.account_number}"

    def require_account(self, account: Account) -> None:
        """Refuse a paper account on a live desk, and the other way round. Raises RunRefused."""
        opened = "paper" if account.account_number.startswith(PAPER_PREFIX) else "live"
        meant = "live" if self.environment == "live" else "paper"
        if opened != meant:
            raise RunRefused(
                f"this desk is {self.environment}, but the key opens {opened} account {account.account_number}: nothing is sent; "
                "set the key, or CLOSEBELL_ENVIRONMENT, to the one you mean"
            )


def _left_to(holder: Lease) -> RunOutcome:
    """What a run that found another one at work says of itself."""
    until = f"{holder.expires_at:%H:%M}Z"
    return RunOutcome(f"left to {holder.function}, which holds the desk until {until}", {LEFT_TO_ANOTHER: 1})
