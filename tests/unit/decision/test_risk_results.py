"""What the checks tell whoever asks why: each one's number, limit, unit and words, whole, for three desks."""

from dataclasses import replace
from decimal import Decimal

from closebell.decision import risk
from closebell.decision.risk import EntryCase, evaluate
from closebell.model.broker import Quote
from closebell.model.instruments import Market
from closebell.model.orders import DayCounters
from tests.unit.decision.desks import NEXT_SESSION, NO_SNAPSHOT, NOW, account, case, desk, snapshot, venue_order, venue_position


def told(found: EntryCase, checks: tuple[risk.Check, ...] = risk.PLACING_CHECKS) -> list[str]:
    """Every result on a line of its own: passed or denied, the number against its limit, the note."""
    return [
        f"{'passed' if one.passed else 'denied'} {one.check}: {one.measured} of {one.limit} {one.unit} {one.note}".rstrip()
        for one in evaluate(found, checks)
    ]


def test_a_sound_entry_shows_every_number_beside_its_limit() -> None:
    assert told(case(average_volume_shares=Decimal(40_000)), risk.PLANNING_CHECKS) == [
        "passed halt: 0 of 0 halts",
        "passed broker_truth: 60 of 3600 s",
        "passed account: 0 of 0 restrictions",
        "passed universe_coverage: 1 of 0.80 of the universe",
        "passed daily_loss: 0 of 0.05 of last equity",
        "passed orders_per_session: 1 of 50 orders",
        "passed symbol_free: 0 of 0 positions or orders",
        "passed positions: 1 of 5 positions",
        "passed sector_positions: 1 of 3 positions sector tech",
        "passed sector_exposure: 0.105000 of 0.60 of equity",
        "passed gross_exposure: 0.105000 of 1.00 of equity",
        "passed position_weight: 0.105000 of 0.20 of equity",
        "passed risk_per_trade: 0.003150 of 0.02 of equity",
        "passed buying_power: 10500 of 100000 USD",
        "passed volume_share: 0.002500 of 0.01 of daily volume",
        "passed minimum_notional: 10000 of 100 USD",
        "passed price_collar: None of 0.05 of the reference price checked at the open",
    ]


def test_a_halted_desk_without_the_brokers_truth_says_what_could_not_be_measured() -> None:
    unread = "the broker could not be read"
    assert told(replace(case(desk(NO_SNAPSHOT, is_halted=True)), coverage_frac=None)) == [
        "denied halt: 1 of 0 halts the desk is halted",
        f"denied broker_truth: None of 3600 s {unread}",
        f"denied account: None of 0 restrictions {unread}",
        "passed universe_coverage: None of 0.80 of the universe checked when planned",
        f"denied daily_loss: None of 0.05 of last equity {unread}",
        f"denied orders_per_session: None of 50 orders {unread}",
        f"denied symbol_free: None of 0 positions or orders {unread}",
        f"denied positions: None of 5 positions {unread}",
        f"denied sector_positions: None of 3 positions {unread}",
        f"denied sector_exposure: None of 0.60 of equity {unread}",
        f"denied gross_exposure: None of 1.00 of equity {unread}",
        f"denied position_weight: None of 0.20 of equity {unread}",
        f"denied risk_per_trade: None of 0.02 of equity {unread}",
        f"denied buying_power: None of 0 USD {unread}",
        "passed volume_share: None of 0.01 of daily volume volume unknown: not checked",
        "passed minimum_notional: 10000 of 100 USD",
        "denied price_collar: None of 0.05 of the reference price no quote",
        "denied quote_age: None of 3600 s no quote",
    ]


def test_a_crowded_desk_counts_what_is_there_beside_what_is_wanted() -> None:
    closing = account(100_000, last_equity_usd=0, status="closing")
    held = (venue_position("AAA", 2_500), venue_position("EEE", 1_000), venue_position("CCC", 500))
    truth = snapshot(*held, orders=[venue_order("ZZZ"), venue_order("YYY")], broker_account=closing)
    counters = DayCounters(market=Market.US_EQUITY, session=NEXT_SESSION, orders_count=3)
    quote = Quote(symbol="AAA", bid_usd=Decimal(103), ask_usd=Decimal(104), quoted_at=NOW)
    wanted = case(desk(truth, counters=counters), quantity_shares=5, average_volume_shares=Decimal(0))
    assert told(replace(wanted, sized_by="risk_per_trade", coverage_frac=Decimal("0.1234567"), quote=quote)) == [
        "passed halt: 0 of 0 halts",
        "passed broker_truth: 60 of 3600 s",
        "denied account: 1 of 0 restrictions trading is blocked, status closing",
        "denied universe_coverage: 0.123457 of 0.80 of the universe",
        "passed daily_loss: None of 0.05 of last equity no equity at the last close",
        "passed orders_per_session: 4 of 50 orders",
        "denied symbol_free: 1 of 0 positions or orders held",
        "passed positions: 5 of 5 positions",
        "passed sector_positions: 2 of 3 positions sector tech",
        "passed sector_exposure: 0.040250 of 0.60 of equity",
        "denied gross_exposure: None of 1.00 of equity the value of a resting order in ZZZ, YYY is unknown",
        "passed position_weight: 0.030250 of 0.20 of equity",
        "passed risk_per_trade: 0.000158 of 0.02 of equity",
        "passed buying_power: 525 of 100000 USD",
        "denied volume_share: None of 0.01 of daily volume nothing is traded",
        "passed minimum_notional: 500 of 100 USD sized to 5 by risk_per_trade",
        "passed price_collar: 0.035000 of 0.05 of the reference price",
        "passed quote_age: 0 of 3600 s",
    ]


def test_without_equity_no_share_of_it_can_be_measured() -> None:
    denied = [line for line in told(case(desk(snapshot(broker_account=account(0))))) if "equity is" in line]
    assert denied == [
        "denied sector_exposure: None of 0.60 of equity equity is 0 USD",
        "denied gross_exposure: None of 1.00 of equity equity is 0 USD",
        "denied position_weight: None of 0.20 of equity equity is 0 USD",
        "denied risk_per_trade: None of 0.02 of equity equity is 0 USD",
    ]
