"""What the desk must do about each fault of time, data and AWS, as something that can be seen once a rehearsal is over."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from closebell.adapters.cron import CronFirings
from closebell.app.place_orders import NO_SESSION
from closebell.model.books import Fill, Position
from closebell.model.decision import Denial, Outcome, PlanAction, PlanSet, TradePlan
from closebell.model.decision_document import DecisionDocument
from closebell.model.instruments import Market
from closebell.model.operations import Alert, RunRecord, RunState
from closebell.model.orders import OrderLeg, OrderRecord, is_our_order_id, order_key
from closebell.model.panel import BarPanel
from closebell.model.parameters import ParameterSet
from closebell.model.record import Key
from closebell.model.schedule import SCHEDULES
from closebell.rehearsal.desk_days import DeskDays
from closebell.rehearsal.output_checks import HOSTILE_HEADLINE

Reaction = Callable[[DeskDays], bool]
DESK_TIMES = {run.function: run for run in SCHEDULES if run.once_a_session and run.market is Market.US_EQUITY}


def _runs(days: DeskDays, function: str) -> list[RunRecord]:
    return [run for run in days.raw.all_of(RunRecord) if run.function == function]


def _told(days: DeskDays, words: str) -> bool:
    return any(words in f"{alert.alert_id} {alert.subject} {alert.body}" for alert in days.raw.all_of(Alert))


def _documents(days: DeskDays) -> Iterator[tuple[PlanSet, DecisionDocument]]:
    for header in days.raw.all_of(PlanSet):
        content = days.archive.peek(header.decisions_archive)
        assert content is not None
        yield header, DecisionDocument.model_validate_json(content)


def the_brokers_calendar_wins(days: DeskDays) -> bool:
    """No order for a day that is closed, no run called missed on it; a session we do not know is refused and told."""
    ways = set[str]()
    for day, hours in days.market.differing.items():
        placed = [run for run in _runs(days, "place_orders") if Market.US_EQUITY.date_of(run.scheduled_at) == day]
        entries = [one for one in days.raw.all_of(OrderRecord) if one.leg is OrderLeg.ENTRY and one.session == day]
        if not days.market.is_session(day):
            assert [run.outcome for run in placed] == [NO_SESSION]
            assert not entries
            assert not _told(days, f"missed-place_orders-us_equity-{day}")
            ways.add("closed")
        elif hours is None:
            assert [run.state for run in placed] == [RunState.REFUSED]
            assert not entries
            ways.add("unknown")
    return bool(ways)


def trades_on_a_half_day(days: DeskDays) -> bool:
    """What is bought at the open of a half-day is protected on it."""
    stops = {one.session for one in days.raw.all_of(OrderRecord) if one.leg is OrderLeg.PROTECT}
    return bool(stops & days.market.half_days)


def follows_a_split(days: DeskDays) -> bool:
    """Shares and stop are those after the split; a plan made before it is denied by the collar."""
    for symbol, split in days.market.split_of.items():
        mine = [one for one in days.raw.all_of(OrderRecord) if one.symbol == symbol and one.leg is OrderLeg.PROTECT]
        before = {one.plan_id: one.quantity_shares for one in mine if one.created_at.date() < split.ex_session}
        after = {one.plan_id: one.quantity_shares for one in mine if one.created_at.date() >= split.ex_session}
        if any(after.get(plan_id) == int(shares * split.ratio) for plan_id, shares in before.items()):
            return True
        denied = [one for one in days.raw.all_of(Denial) if (one.symbol, one.session) == (symbol, split.ex_session)]
        if any(not check.passed and check.check == "price_collar" for one in denied for check in one.checks):
            return True
    return False


def works_with_a_wrong_clock(days: DeskDays) -> bool:
    """A run that believes to be five minutes off is done: only the broker's clock says what time it is."""
    return any(
        run.state is RunState.COMPLETED and run.counts and abs(run.started_at - run.scheduled_at) >= timedelta(minutes=5)
        for run in _runs(days, "place_orders")
    )


def fires_at_new_york_times(days: DeskDays) -> bool:
    """On both sides of the change every run is the one that the template's schedule fires."""
    offsets = set[timedelta | None]()
    first = datetime.combine(days.market.played[0], time(0), UTC)
    for function in ("place_orders", "generate_signals"):
        fired = CronFirings().between(DESK_TIMES[function], first, days.exchange.now)
        runs = [run.scheduled_at for run in _runs(days, function) if run.scheduled_at >= first]
        assert set(runs) <= set(fired)
        assert len(runs) >= len(days.market.played)
        offsets |= {run.astimezone(Market.US_EQUITY.zone).utcoffset() for run in runs}
    return len(offsets) == 2


def typos_are_refused_by_name(days: DeskDays) -> bool:
    """Nothing was stored, and the answer names the setting."""
    assert all(slip.setting in slip.answer for slip in days.owner.slips)
    return [one.version_count for one in days.raw.all_of(ParameterSet)] == [1]


def the_watchdog_names_dead_letters(days: DeskDays) -> bool:
    """What never began is named like what never came."""
    dead = [(function, Market.US_EQUITY.date_of(due)) for function, due in days.deliveries.dead_letters]
    return any(_told(days, f"missed-{function}-us_equity-{day}") for function, day in dead)


def another_versions_plans_are_refused(days: DeskDays) -> bool:
    """Plans and the run that places them are of one version, or nothing is placed and the owner told."""
    versions = {header.session: header.code_version for header in days.raw.all_of(PlanSet)}
    refused = False
    for run in _runs(days, "place_orders"):
        session = Market.US_EQUITY.date_of(run.scheduled_at)
        if session in versions and versions[session] != run.code_version:
            assert run.state is RunState.REFUSED
            refused = True
    return refused and _told(days, "were made by version")


def a_killed_run_is_named(days: DeskDays) -> bool:
    """A run that was killed and does not come again is named, and those after it go on."""
    return _told(days, "started and never finished")


def goes_on_with_equal_books(days: DeskDays) -> bool:
    """What our books hold is what the exchange holds, and whose it is."""
    true = {symbol: book.our_shares for symbol, book in days.checker.truth.read().symbols.items() if book.our_shares}
    ours = {one.symbol: one.quantity_shares for one in days.raw.all_of(Position) if one.quantity_shares}
    return ours == true


def was_rebuilt_and_trades_again(days: DeskDays) -> bool:
    """The books came back from the broker alone, and later sessions were traded."""
    traded = any(order.leg is OrderLeg.ENTRY and order.venue_order_id for order in days.raw.all_of(OrderRecord))
    return days.tables.rebuilds_count > 0 and traded and goes_on_with_equal_books(days)


def entries_stop_below_the_coverage(days: DeskDays) -> bool:
    """With bars for less of the universe than the limit says nothing is bought; a single stale symbol is only left out."""
    for header, document in _documents(days):
        usable = sum(decision.outcome is not Outcome.SKIPPED for decision in document.decisions)
        if 0 < usable < document.parameters.limits.universe_coverage_frac_min * len(document.decisions):
            partition = f"PLAN#{header.market}#{header.session}"
            plans = [days.raw.at(Key("journal", partition, plan_id), TradePlan) for plan_id in header.plan_ids]
            assert not [plan for plan in plans if plan is not None and plan.action is PlanAction.ENTER]
            return True
    return False


def realised_volatility_stands_in(days: DeskDays) -> bool:
    """Without the index the regime comes from the bars, and the decision says so."""
    return any(
        document.regime.volatility_source == "realised" and any("VIX" in note for note in document.notes)
        for _, document in _documents(days)
    )


def news_decide_nothing(days: DeskDays) -> bool:
    """A headline is kept as it came, beside decisions that do not know it."""
    seen = [news.headline for _, document in _documents(days) for news in document.news]
    reasons = [decision.reason for _, document in _documents(days) for decision in document.decisions]
    return HOSTILE_HEADLINE in seen and not any("rules" in reason for reason in reasons)


def decides_without_news(days: DeskDays) -> bool:
    """Plans are made although no headline could be read."""
    return any(header.plan_ids and not document.news for header, document in _documents(days))


def plans_keep_their_input_hash(days: DeskDays) -> bool:
    """Whatever becomes of history later: bars archived under the plans' hash, and the orders are placed on that hash."""
    placed = {Market.US_EQUITY.date_of(run.scheduled_at): run for run in _runs(days, "place_orders")}
    for header, document in _documents(days):
        content = days.archive.peek(document.bars_archive)
        assert content is not None
        assert BarPanel.from_npz(content).symbols
        assert document.input_sha256 == header.input_sha256
        assert header.input_sha256[:12] in document.bars_archive
        run = placed.get(header.session)
        assert run is None or run.state is not RunState.COMPLETED or run.input_sha256 in {header.input_sha256, ""}
    return True


def nothing_is_sent_before_its_intent(days: DeskDays) -> bool:
    """A morning that fails before an intent is written has sent nothing for that plan, and what was sent is found by its id."""
    orders = [one for one in days.exchange.floor.orders.orders.values() if is_our_order_id(one.client_order_id)]
    assert all(days.raw.at(order_key(order.client_order_id), OrderRecord) is not None for order in orders)
    return days.outcomes["place_orders StoreUnavailable"] > 0


def each_order_is_sent_once(days: DeskDays) -> bool:
    """A run that was killed after a POST and is delivered again finds the order; the exchange took every id once."""
    heads = [one.client_order_id for one in days.exchange.floor.orders.orders.values() if is_our_order_id(one.client_order_id)]
    return days.outcomes["killed"] > 0 and len(heads) == len(set(heads))


def each_alert_is_delivered_once(days: DeskDays) -> bool:
    """The topic being down delays an alert; it is neither lost nor doubled."""
    return days.pager.published == Counter(alert.alert_id for alert in days.raw.all_of(Alert))


def each_fill_is_booked_once(days: DeskDays) -> bool:
    """The fills of the journal are those of the exchange."""
    booked = [fill.activity_id for fill in days.raw.all_of(Fill)]
    return sorted(booked) == sorted(days.checker.truth.read().fills)


def bars_a_hundredfold_are_caught(days: DeskDays) -> bool:
    """No order was sized from a price that the market never had."""
    plans = [one for one in days.raw.all_of(TradePlan) if one.action is PlanAction.ENTER]
    return all(plan.reference_price_usd < Decimal(5000) or plan.plan_id not in _bought(days) for plan in plans)


def _bought(days: DeskDays) -> set[str]:
    return {one.plan_id for one in days.raw.all_of(OrderRecord) if one.leg is OrderLeg.ENTRY}


SOMETIMES: dict[str, Reaction] = {
    "half_day": trades_on_a_half_day,
    "wrong_calendar": the_brokers_calendar_wins,
    "share_split": follows_a_split,
    "skewed_clock": works_with_a_wrong_clock,
    "clock_change": fires_at_new_york_times,
    "dead_letter": the_watchdog_names_dead_letters,
    "old_version_running": another_versions_plans_are_refused,
    "killed_and_never_repeated": a_killed_run_is_named,
    "tables_lost": was_rebuilt_and_trades_again,
    "stale_bar": entries_stop_below_the_coverage,
    "vix_down": realised_volatility_stands_in,
    "hostile_news": news_decide_nothing,
    "news_down": decides_without_news,
    "journal_throttled": nothing_is_sent_before_its_intent,
    "killed_at_any_line": each_order_is_sent_once,
}
"""Seen in some rehearsal of each fault alone; what is asserted inside must hold in every one."""

ALWAYS: dict[str, Reaction] = {
    "limits_typo": typos_are_refused_by_name,
    "revised_history": plans_keep_their_input_hash,
    "restored_book_table": goes_on_with_equal_books,
    "notifier_down": each_alert_is_delivered_once,
    "mailer_down": each_alert_is_delivered_once,
    "fills_duplicated": each_fill_is_booked_once,
    "fills_out_of_order": each_fill_is_booked_once,
    "price_times_100": bars_a_hundredfold_are_caught,
}
"""Seen in every rehearsal of each fault alone."""
