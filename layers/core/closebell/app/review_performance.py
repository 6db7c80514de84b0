"""After the close: write down what the account is worth and what each strategy earned."""

from dataclasses import dataclass, field
from datetime import timedelta

from closebell.app.desk import load_desk
from closebell.app.runs import RunLog, RunOutcome, fingerprint
from closebell.books.performance import TradeTotals, snapshot_equity
from closebell.model.books import EquitySnapshot, Trade
from closebell.model.errors import RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import RunRecord, Trigger
from closebell.ports.journal import Create, Journal
from closebell.ports.market_data import Calendar


@dataclass(frozen=True)
class ReviewPerformance:
    """The use case."""

    runs: RunLog
    journal: Journal
    calendar: Calendar
    _earned: dict[Market, TradeTotals] = field(default_factory=dict)

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Record the session's equity once. Raises RunRefused when the broker was not read since the close."""
        return self.runs.run_once(trigger, lambda: self._review(trigger))

    def _review(self, trigger: Trigger) -> RunOutcome:
        day = trigger.market.date_of(trigger.scheduled_at)
        ended = [
            hours
            for hours in self.calendar.sessions(trigger.market, day - timedelta(days=1), day)
            if hours.closes_at <= trigger.scheduled_at
        ]
        if not ended or (trigger.market is Market.US_EQUITY and ended[-1].session != day):
            return RunOutcome("no session today")
        desk = load_desk(self.journal)
        snapshot = desk.snapshot.record if desk.snapshot else None
        if snapshot is None or snapshot.as_of < ended[-1].closes_at:
            seen = f"last read {snapshot.as_of:%Y-%m-%d %H:%M}Z" if snapshot else "never read"
            raise RunRefused(
                f"the broker was {seen}, the session closed {ended[-1].closes_at:%H:%M}Z: reconcile has to run first"
            )
        session = ended[-1].session
        records = [stored.record for stored in self.journal.query("journal", f"TRADE#{trigger.market}")]
        trades = [record for record in records if isinstance(record, Trade)]
        earned = self._earned.setdefault(trigger.market, TradeTotals())
        earned.count(trades)
        history = self.journal.query("journal", f"EQUITY#{trigger.market}", newest=2)
        before = [item.record for item in history if isinstance(item.record, EquitySnapshot) and item.record.session < session]
        positions = [stored.record for stored in desk.positions.values() if stored.record.market is trigger.market]
        equity = snapshot_equity(
            trigger.market,
            snapshot.model_copy(update={"session": session}),
            positions,
            earned,
            before[-1] if before else None,
            trigger.scheduled_at,
        )
        if self.journal.read(equity.key, EquitySnapshot) is None:
            self.journal.commit([Create(equity)])
        counts = {"trades": len(records), "positions": len(positions)}
        return RunOutcome(f"equity ${equity.equity_usd:,.2f}", counts, fingerprint([snapshot, *positions, *before[-1:]]))
