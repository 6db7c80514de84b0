"""What the two functions that may trade work with."""

from dataclasses import dataclass

from closebell.app.runs import RunLog
from closebell.model.broker import Account
from closebell.ports.broker import Broker
from closebell.ports.journal import Journal


@dataclass(frozen=True)
class TradingRoom:
    """The broker, and the run log with the journal and the owner's inbox behind it; `environment` is paper or live."""

    runs: RunLog
    broker: Broker
    environment: str

    @property
    def journal(self) -> Journal:
        return self.runs.journal

    def desk_name(self, account: Account) -> str:
        """Environment and account: what keeps the order ids of two desks apart."""
        return f"{self.environment}|{account.account_number}"
