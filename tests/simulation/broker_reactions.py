"""What the desk must do about the faults of the broker and of people, as something that can be seen once a rehearsal is over."""

from collections import Counter
from collections.abc import Callable

from closebell.model.books import Break, BreakKind, Trade
from closebell.model.decision import Denial, ExitRule
from closebell.model.operations import HALT_KEY, Alert, Halt, RunRecord, RunState
from closebell.model.orders import OrderLeg, OrderRecord, OrderState, OrderTransition
from closebell.rehearsal.desk_days import DeskDays

Reaction = Callable[[DeskDays], bool]


def told_of(*words: str) -> Reaction:
    """The owner was told in these words."""
    return lambda days: any(all(word in f"{one.subject} {one.body}" for word in words) for one in days.raw.all_of(Alert))


def halted(days: DeskDays) -> bool:
    return days.raw.at(HALT_KEY, Halt) is not None


def never_halted(days: DeskDays) -> bool:
    return not halted(days)


def exits_of(days: DeskDays) -> list[OrderRecord]:
    return [order for order in days.raw.all_of(OrderRecord) if order.leg is OrderLeg.EXIT]


def halts_and_gives_way(days: DeskDays) -> bool:
    """Another order under our id halts the desk; ours is quarantined, never sent again, and given up."""
    states = [step.to_state for step in days.raw.all_of(OrderTransition) if "under its id" in step.evidence]
    return halted(days) and OrderState.QUARANTINED in states and told_of("was meant as buy")(days)


def sold_once_after_a_refusal(days: DeskDays) -> bool:
    """Refused for quantity, not tried again in that run, then sold by one more order and no other."""
    refused = {(one.plan_id, one.created_at) for one in exits_of(days) if one.state is OrderState.REJECTED}
    again = Counter(one.plan_id for one in exits_of(days) if one.state is OrderState.FILLED)
    at_once = Counter((one.plan_id, one.created_at) for one in exits_of(days))
    return bool(refused) and all(at_once[key] == 1 for key in refused) and all(again[plan] <= 1 for plan, _ in refused)


def taken_as_sold_by_hand(days: DeskDays) -> bool:
    """The refused exit is followed by no other: the owner's sale closed the position."""
    refused = {one.symbol for one in exits_of(days) if one.state is OrderState.REJECTED}
    return any(trade.exit_rule is ExitRule.MANUAL and trade.symbol in refused for trade in days.raw.all_of(Trade))


def follows_the_newest_form(days: DeskDays) -> bool:
    """A replaced order is one order of ours in its newest form; the owner is told."""
    return any(one.former_venue_order_ids for one in days.raw.all_of(OrderRecord)) and told_of("was replaced")(days)


def refuses_the_account(days: DeskDays) -> bool:
    """The run refuses; no order of that account number's id exists."""
    refused = [run for run in days.raw.all_of(RunRecord) if run.state is RunState.REFUSED and "8LIVE0001" in run.outcome]
    return bool(refused) or told_of("8LIVE0001")(days)


def halts_for_a_stranger(days: DeskDays) -> bool:
    strangers = [found for found in days.raw.all_of(Break) if found.break_kind is BreakKind.UNKNOWN_ORDER]
    return bool(strangers) and halted(days)


def failed_and_went_on(days: DeskDays) -> bool:
    """A reconcile that could not read failed, and later ones completed."""
    states = Counter(run.state for run in days.raw.all_of(RunRecord) if run.function == "reconcile")
    retried = any(run.attempts_count > 1 for run in days.raw.all_of(RunRecord) if run.function == "reconcile")
    return (states[RunState.FAILED] > 0 or retried) and states[RunState.COMPLETED] > states[RunState.FAILED]


def waits_for_the_halted_symbol(days: DeskDays) -> bool:
    """Orders in a symbol that does not trade wait or end without a fill; none is doubled."""
    live = Counter((one.plan_id, one.leg) for one in days.raw.all_of(OrderRecord) if one.state is OrderState.FILLED)
    return all(count == 1 for (_, leg), count in live.items() if leg is OrderLeg.ENTRY)


def stopped_out(days: DeskDays) -> bool:
    """The stop fills at the gap's price, further than its distance; the trade says it was the stop."""
    return any(one.exit_rule is ExitRule.STOP and one.return_frac < -0.03 for one in days.raw.all_of(Trade))


def halts_on_the_day(days: DeskDays) -> bool:
    """A fall of everything at once costs more than a day may, and stops the desk."""
    return told_of("The desk is halted", "below the day's start")(days)


def enters_by_a_limit(days: DeskDays) -> bool:
    """Entries rest for the day at a price of ours, and what they buy is bought at that price or below."""
    entries = [one for one in days.raw.all_of(OrderRecord) if one.leg is OrderLeg.ENTRY and one.limit_price_usd]
    assert all((one.filled_average_price_usd or 0) <= (one.limit_price_usd or 0) for one in entries)
    return any(one.filled_quantity_shares for one in entries)


def waits_for_the_next_minute(days: DeskDays) -> bool:
    """A morning without requests fails and is repeated, or leaves entries out: what is kept is for exits."""
    denied = any(one.reason.startswith("rate budget") for one in days.raw.all_of(Denial))
    return denied or days.outcomes["place_orders RateLimited"] > 0


def sends_nothing_on_an_old_quote(days: DeskDays) -> bool:
    """Entries wait for another session when the quote they are checked by is hours old."""
    return any(one.reason.startswith("quote_age") for one in days.raw.all_of(Denial))


SOMETIMES_SEEN: dict[str, Reaction] = {
    "same_id_other_parameters": halts_and_gives_way,
    "shares_held": sold_once_after_a_refusal,
    "phantom_exit": taken_as_sold_by_hand,
    "replaced_by_owner": follows_the_newest_form,
    "wrong_account": refuses_the_account,
    "second_stack": halts_for_a_stranger,
    "fill_busted": told_of("The broker booked TRADE_BUST"),
    "fill_corrected": told_of("The broker booked TRADE_CORRECT"),
    "rate_limited": failed_and_went_on,
    "broker_unavailable": failed_and_went_on,
    "gap_through_stop": stopped_out,
    "sharp_down_day": halts_on_the_day,
    "limit_entries": enters_by_a_limit,
    "busy_minute": waits_for_the_next_minute,
    "stale_quotes": sends_nothing_on_an_old_quote,
}
"""At least one of the seeds shows it."""

ALWAYS_SEEN: dict[str, Reaction] = {
    "secret_rotated": never_halted,
    "dividend": never_halted,
    "symbol_halted": waits_for_the_halted_symbol,
}
"""Every seed shows it."""
