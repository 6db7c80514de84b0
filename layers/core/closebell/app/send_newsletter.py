"""After the decisions: one mail that says what to buy, sell, watch and avoid, and how the desk stands.

The mail is archived and its record written before it is sent; a run that finds the record as sent does nothing. A run that
was killed between sending and recording sends once more: silence would be worse than a second copy.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from closebell.app.desk import Desk, load_desk
from closebell.app.explain import document_of
from closebell.app.runs import RunLog, RunOutcome, fingerprint
from closebell.model.books import Break, EquitySnapshot, Trade
from closebell.model.decision import PlanSet, TradePlan
from closebell.model.errors import RunRefused
from closebell.model.instruments import Market
from closebell.model.operations import Mail, MailRecord, MailState, RunRecord, Trigger
from closebell.model.record import Key
from closebell.ports.journal import Create, Journal, Replace, Stored
from closebell.ports.market_data import Calendar
from closebell.ports.operations import Archive, Mailer
from closebell.reports.archive_page import standalone_html
from closebell.reports.issue import DeskEnvironment, NewsletterIssue
from closebell.reports.newsletter import render_newsletter

TRADES_SHOWN_DAYS = 30


@dataclass(frozen=True)
class SendNewsletter:
    """The use case."""

    runs: RunLog
    journal: Journal
    archive: Archive
    mailer: Mailer
    calendar: Calendar
    environment: DeskEnvironment
    source_note: str
    code_version: str

    def __call__(self, trigger: Trigger) -> RunRecord:
        """Send the session's newsletter once. Raises RunRefused when there are no decisions to report."""
        return self.runs.run_once(trigger, lambda: self._send(trigger))

    def _send(self, trigger: Trigger) -> RunOutcome:
        plan_set = self._plan_set(trigger)
        if plan_set is None:
            return RunOutcome("no session today")
        prefix = f"newsletters/{plan_set.market}/{plan_set.decided_session}"
        known = self.journal.read(Key("journal", f"MAIL#{plan_set.market}", f"{plan_set.decided_session}"), MailRecord)
        if known is not None and known.record.state is MailState.SENT:
            return RunOutcome("sent before", {"mails": 0})
        mail = self._archived(prefix) or render_newsletter(self._issue(plan_set, load_desk(self.journal)))
        self._archive(prefix, mail)
        record = MailRecord(
            market=plan_set.market,
            session=plan_set.decided_session,
            state=MailState.SENDING,
            subject=mail.subject,
            archive_prefix=prefix,
            recorded_at=trigger.scheduled_at,
        )
        if known is None:
            self.journal.commit([Create(record)])
        sending = known or Stored(record, 1)
        message_id = self.mailer.send(mail)
        sent = sending.record.model_copy(update={"state": MailState.SENT, "message_id": message_id})
        self.journal.commit([Replace(sent, sending.version)])
        return RunOutcome(mail.subject, {"mails": 1}, fingerprint([plan_set]))

    def _plan_set(self, trigger: Trigger) -> PlanSet | None:
        """The header of the plans decided after the session that has just ended; None when no session ended."""
        market, day = trigger.market, trigger.market.date_of(trigger.scheduled_at)
        decided = day if market is Market.US_EQUITY else day - timedelta(days=1)
        if not self.calendar.sessions(market, decided, decided):
            return None
        newest = self.journal.query("journal", f"PLANSET#{market}", newest=1)
        found = newest[0].record if newest else None
        if isinstance(found, PlanSet) and found.decided_session == decided:
            return found
        if not load_desk(self.journal).parameters.instruments(market):
            return None
        raise RunRefused(f"there are no decisions for {decided}: generate_signals did not finish, so there is nothing to report")

    def _issue(self, plan_set: PlanSet, desk: Desk) -> NewsletterIssue:
        content = self.archive.get(plan_set.decisions_archive)
        if content is None:
            raise RunRefused(f"the archive has no {plan_set.decisions_archive}, which the plans for {plan_set.session} name")
        document = document_of(content, plan_set.decisions_archive)
        market, session = plan_set.market, plan_set.decided_session
        plans = self.journal.query("journal", f"PLAN#{market}#{plan_set.session}")
        equity = self.journal.query("journal", f"EQUITY#{market}", newest=260)
        since = f"{session - timedelta(days=TRADES_SHOWN_DAYS)}"
        trades = [
            item.record for item in self.journal.query("journal", f"TRADE#{market}", newest=200) if item.record.key.sort >= since
        ]
        positions = tuple(stored.record for stored in desk.positions.values() if stored.record.market is market)
        return NewsletterIssue(
            market=market,
            session=session,
            next_session=plan_set.session,
            decisions=document.decisions,
            plans=tuple(item.record for item in plans if isinstance(item.record, TradePlan)),
            positions=positions,
            snapshot=desk.snapshot.record if desk.snapshot else None,
            equity=tuple(item.record for item in equity if isinstance(item.record, EquitySnapshot)),
            trades=tuple(trade for trade in trades if isinstance(trade, Trade)),
            breaks=self._breaks(session),
            news=document.news,
            is_halted=desk.is_halted,
            halt_reason=desk.halt.record.reason if desk.halt and desk.is_halted else "",
            environment=self.environment,
            source_note="; ".join((self.source_note, *document.notes)),
            code_version=self.code_version,
            sessions=self._sessions(market, session, positions),
            votes_to_act_count_min=document.parameters.votes_to_act_count_min,
        )

    def _breaks(self, session: date) -> tuple[Break, ...]:
        found = self.journal.query("journal", f"BREAK#{session}")
        return tuple(item.record for item in found if isinstance(item.record, Break))

    def _sessions(self, market: Market, session: date, positions: tuple[object, ...]) -> tuple[date, ...]:
        """The last half year of sessions: enough to count how long anything is held."""
        return (
            tuple(hours.session for hours in self.calendar.sessions(market, session - timedelta(days=183), session))
            if positions
            else ()
        )

    def _archive(self, prefix: str, mail: Mail) -> None:
        """The mail itself first: a run that was killed in between finds it and writes the same again."""
        self.archive.put(f"{prefix}/mail.json", mail.model_dump_json().encode(), "application/json")
        self.archive.put(f"{prefix}/newsletter.html", standalone_html(mail).encode(), "text/html; charset=utf-8")
        self.archive.put(f"{prefix}/newsletter.txt", mail.text.encode(), "text/plain; charset=utf-8")
        for image in mail.images:
            self.archive.put(f"{prefix}/{image.content_id.partition('@')[0]}.png", image.png, "image/png")

    def _archived(self, prefix: str) -> Mail | None:
        content = self.archive.get(f"{prefix}/mail.json")
        return Mail.model_validate_json(content) if content else None
