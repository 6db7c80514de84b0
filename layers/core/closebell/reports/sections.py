"""Which decision is read where: every one in exactly one section of the newsletter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from closebell.model.decision import CheckResult, Decision, EntryMethod, Outcome, PlanAction, Stance, TradePlan
from closebell.reports.formatting import (
    MINUS,
    counted,
    day,
    dotted,
    listed,
    measure,
    percent,
    price,
    quantity,
    sentence,
    usd,
    words,
)
from closebell.reports.issue import NewsletterIssue
from closebell.reports.untrusted import one_line

LINES_MAX = 8
"""Symbols written out in a section; the others are named in one line, so that a mail on 500 symbols is still read (and
stays under the 102 kB at which mail clients cut)."""


class Topic(StrEnum):
    """The sections, in reading order. QUIET: considered, and nothing spoke for a trade."""

    BUY = "buy"
    SELL = "sell"
    WATCH = "watch"
    AVOID = "avoid"
    KEEP = "keep"
    SKIPPED = "skipped"
    QUIET = "quiet"


@dataclass(frozen=True, kw_only=True)
class SymbolLine:
    """One symbol in a section (or several of which the same is said): how much, on what terms, and why in one line."""

    symbol: str
    amount: str = ""
    terms: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class MailSection:
    """A section: its lead sentence, the symbols written out, and those that are only named."""

    topic: Topic
    lead: str
    symbols_count: int
    lines: tuple[SymbolLine, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.topic.value.capitalize()

    @property
    def also_line(self) -> str:
        """The symbols that are only named, as one line."""
        prefix = f"{len(self.also)} more: " if self.lines else ""
        return prefix + ", ".join(self.also) if self.also else ""


def topic_of(decision: Decision, issue: NewsletterIssue) -> Topic:
    """The one section a decision belongs to.

    A plan speaks louder than the decision beside it: a symbol skipped for bad data may still be sold by its time stop.
    """
    planned = {plan.action for plan in issue.plans if plan.symbol == decision.symbol}
    if decision.outcome is Outcome.EXIT or (PlanAction.EXIT in planned and decision.outcome is not Outcome.ENTER):
        return Topic.SELL
    if decision.outcome is Outcome.ENTER or planned:
        return Topic.BUY
    match decision.outcome:
        case Outcome.DENIED:
            return Topic.WATCH
        case Outcome.HOLD:
            return Topic.KEEP
        case Outcome.SKIPPED:
            return Topic.SKIPPED
        case _:
            return _topic_of_no_trade(decision, issue.votes_to_act_count_min)


def _topic_of_no_trade(decision: Decision, votes_to_act_count_min: int) -> Topic:
    buys, sells = _buys_and_sells(decision)
    if decision.stance is Stance.SELL or (buys and sells):
        return Topic.AVOID
    return Topic.WATCH if buys and buys == votes_to_act_count_min - 1 else Topic.QUIET


def _buys_and_sells(decision: Decision) -> tuple[int, int]:
    stances = [vote.stance for vote in decision.votes]
    return stances.count(Stance.BUY), stances.count(Stance.SELL)


def sections_of(issue: NewsletterIssue) -> tuple[MailSection, ...]:
    """The sections that have something to say; "buy" always does, if only why nothing is bought."""
    by_topic: dict[Topic, list[Decision]] = {topic: [] for topic in Topic}
    for decision in issue.decisions:
        by_topic[topic_of(decision, issue)].append(decision)
    watched = sorted(by_topic[Topic.WATCH], key=_nearest_first)
    avoided = sorted(by_topic[Topic.AVOID], key=lambda decision: (decision.vote_score, decision.symbol))
    quiet = _names(by_topic[Topic.QUIET])
    always = {Topic.BUY, Topic.SELL} if issue.positions else {Topic.BUY}
    sections = (
        _buy(issue, by_topic),
        _sell(issue, by_topic[Topic.SELL]),
        _written(Topic.WATCH, "Close to a trade; the number and its limit say what was missing.", watched,
                 lambda decision: _watch_line(decision, issue)),
        _written(Topic.AVOID, "The strategies want out, or contradict each other.", avoided, _plain_line),
        _grouped(Topic.KEEP, "Owned, and no rule closes it.", by_topic[Topic.KEEP]),
        _grouped(Topic.SKIPPED, "The data is not fit for a decision, so none was made.", by_topic[Topic.SKIPPED]),
        MailSection(topic=Topic.QUIET, lead="Considered, without a signal.", symbols_count=len(quiet), also=quiet),
    )
    return tuple(section for section in sections if section.symbols_count or section.topic in always)


def _written(topic: Topic, lead: str, decisions: Sequence[Decision], line_of: Callable[[Decision], SymbolLine]) -> MailSection:
    lines = tuple(line_of(decision) for decision in decisions[:LINES_MAX])
    return MailSection(topic=topic, lead=lead, symbols_count=len(decisions), lines=lines, also=_names(decisions[LINES_MAX:]))


def _grouped(topic: Topic, lead: str, decisions: Sequence[Decision]) -> MailSection:
    """Symbols of which the same is said share a line."""
    groups: dict[str, list[Decision]] = {}
    for decision in decisions:
        groups.setdefault(decision.reason, []).append(decision)
    written, rest = list(groups.values())[:LINES_MAX], list(groups.values())[LINES_MAX:]
    lines = tuple(_group_line(group) for group in written)
    also = tuple(name for group in rest for name in _names(group))
    return MailSection(topic=topic, lead=lead, symbols_count=len(decisions), lines=lines, also=also)


def _group_line(group: Sequence[Decision]) -> SymbolLine:
    if len(group) == 1:
        return _plain_line(group[0])
    return SymbolLine(symbol=", ".join(_names(group)), why=_reason(group[0].reason))


def _buy(issue: NewsletterIssue, by_topic: dict[Topic, list[Decision]]) -> MailSection:
    decided = {decision.symbol: decision for decision in by_topic[Topic.BUY]}
    entries = [plan for plan in issue.plans if plan.action is PlanAction.ENTER]
    plans = sorted(entries, key=lambda plan: (-plan.priority_score, plan.symbol))
    lines = [_entry_line(plan, decided.get(plan.symbol)) for plan in plans]
    unplanned = decided.keys() - {plan.symbol for plan in plans}
    lines += [_unplanned_line(decided[symbol]) for symbol in sorted(unplanned)]
    if not lines:
        return MailSection(topic=Topic.BUY, lead=_why_nothing(issue, by_topic), symbols_count=0)
    lead = f"Planned for {day(issue.next_session)}; the largest conviction first."
    if issue.is_halted:
        lead = "Planned, but the desk is halted: none of these is sent until a human resumes it."
    return MailSection(topic=Topic.BUY, lead=lead, symbols_count=len(lines), lines=tuple(lines))


def _why_nothing(issue: NewsletterIssue, by_topic: dict[Topic, list[Decision]]) -> str:
    if not issue.decisions:
        return "Nothing. No decision was recorded for this session, so no order is placed."
    counts = {topic: len(decisions) for topic, decisions in by_topic.items()}
    avoided, owned = counts[Topic.AVOID], counts[Topic.KEEP] + counts[Topic.SELL]
    denied = sum(decision.outcome is Outcome.DENIED for decision in by_topic[Topic.WATCH])
    parts = [
        (counts[Topic.QUIET], "had no signal"),
        (counts[Topic.WATCH] - denied, "came one vote short"),
        (denied, "failed a risk check"),
        (avoided, "had votes to sell or votes that contradict each other"),
        (owned, "is owned already" if owned == 1 else "are owned already"),
        (counts[Topic.SKIPPED], "had data not fit for use"),
    ]
    why = listed([f"{count:,} {what}" for count, what in parts if count])
    return f"Nothing. Of {counted(len(issue.decisions), 'symbol')} considered, {why}."


def _sell(issue: NewsletterIssue, decisions: Sequence[Decision]) -> MailSection:
    plans = sorted((plan for plan in issue.plans if plan.action is PlanAction.EXIT), key=lambda plan: plan.symbol)
    lines = [_exit_line(plan) for plan in plans]
    planned = {plan.symbol for plan in plans}
    lines += [_unplanned_line(decision) for decision in decisions if decision.symbol not in planned]
    lead = f"Closed in the session of {day(issue.next_session)}." if lines else "Nothing; no rule closes a position."
    return MailSection(topic=Topic.SELL, lead=lead, symbols_count=len(lines), lines=tuple(lines))


def _entry_line(plan: TradePlan, decision: Decision | None) -> SymbolLine:
    terms = [_method(plan)]
    close = plan.reference_price_usd
    if plan.stop_loss_frac is not None:
        terms.append(f"stop ~{price(close * (1 - plan.stop_loss_frac))} ({MINUS}{percent(plan.stop_loss_frac)})")
    if plan.take_profit_frac is not None:
        terms.append(f"target ~{price(close * (1 + plan.take_profit_frac))} (+{percent(plan.take_profit_frac)})")
    if plan.time_stop_sessions is not None:
        terms.append(f"at most {counted(plan.time_stop_sessions, 'session')}")
    why = plan.reason if decision is None else decision.reason
    return SymbolLine(symbol=_name(plan.symbol), amount=_amount(plan), terms=dotted(terms), why=_reason(why))


def _exit_line(plan: TradePlan) -> SymbolLine:
    rule = [f"rule: {words(plan.exit_rule)}"] if plan.exit_rule else []
    terms = dotted([_method(plan), *rule])
    return SymbolLine(symbol=_name(plan.symbol), amount=_amount(plan), terms=terms, why=_reason(plan.reason))


def _method(plan: TradePlan) -> str:
    match plan.method:
        case EntryMethod.LIMIT if plan.limit_price_usd is not None:
            return f"limit {price(plan.limit_price_usd)}"
        case EntryMethod.MARKET_ON_OPEN:
            return "at the open"
        case _:
            return f"{words(plan.method)} order"


def _amount(plan: TradePlan) -> str:
    value = plan.quantity_shares * plan.reference_price_usd
    return f"{quantity(plan.quantity_shares)} × {price(plan.reference_price_usd)}, about {usd(value, 0)}"


def _unplanned_line(decision: Decision) -> SymbolLine:
    return SymbolLine(symbol=_name(decision.symbol), amount="no plan was written", why=_reason(decision.reason))


def _nearest_first(decision: Decision) -> tuple[bool, float, str]:
    return decision.outcome is not Outcome.DENIED, -decision.vote_score, decision.symbol


def _watch_line(decision: Decision, issue: NewsletterIssue) -> SymbolLine:
    line = _plain_line(decision)
    if decision.outcome is Outcome.DENIED:
        failed = _binding_check(decision)
        return replace(line, terms=_check(failed) if failed else "denied by a risk check")
    buys, _ = _buys_and_sells(decision)
    return replace(line, amount=f"{buys} of {counted(issue.votes_to_act_count_min, 'vote')}, {line.amount}")


def _binding_check(decision: Decision) -> CheckResult | None:
    failed = [check for check in decision.checks if not check.passed]
    named = [check for check in failed if check.check == decision.binding_check]
    return next(iter(named or failed), None)


def _check(check: CheckResult) -> str:
    measured = "not measured" if check.measured is None else measure(check.measured, check.unit)
    unit = "" if check.unit == "USD" else f" {one_line(check.unit, 40)}"
    note = f" ({one_line(check.note, 80)})" if check.note else ""
    return f"{words(one_line(check.check, 40))} {measured}, limit {measure(check.limit, check.unit)}{unit}{note}"


def _plain_line(decision: Decision) -> SymbolLine:
    return SymbolLine(symbol=_name(decision.symbol), amount=_last_close(decision), why=_reason(decision.reason))


def _last_close(decision: Decision) -> str:
    return "no close" if decision.close_usd is None else f"close {price(decision.close_usd)}"


def _name(symbol: str) -> str:
    return one_line(symbol, 20)


def _names(decisions: Sequence[Decision]) -> tuple[str, ...]:
    return tuple(_name(decision.symbol) for decision in decisions)


def _reason(reason: str) -> str:
    return sentence(one_line(reason))
