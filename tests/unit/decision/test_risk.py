"""The risk checks: a table in which each row mends one fault and meets the next, and each check at its limit."""

from decimal import Decimal

import pytest

from closebell.decision import risk
from closebell.decision.desk_view import DeskView
from closebell.decision.risk import EntryCase, evaluate, first_failed
from closebell.model.broker import Quote
from closebell.model.decision import CheckResult
from closebell.model.instruments import Market
from closebell.model.orders import DayCounters
from closebell.model.parameters import RiskLimits
from tests.unit.decision.desks import (
    NEXT_SESSION,
    NO_SNAPSHOT,
    NOW,
    account,
    case,
    desk,
    order,
    snapshot,
    venue_order,
    venue_position,
)

NAMES = (
    "halt", "broker_truth", "account", "universe_coverage", "daily_loss", "orders_per_session", "symbol_free", "positions",
    "sector_positions", "sector_exposure", "gross_exposure", "position_weight", "risk_per_trade", "buying_power", "volume_share",
    "minimum_notional", "price_collar",
)


def result(found: EntryCase, name: str) -> CheckResult:
    return next(check for check in evaluate(found) if check.check == name)


def test_every_check_is_evaluated_and_a_sound_entry_passes_all() -> None:
    results = evaluate(case())
    assert tuple(check.check for check in results) == NAMES
    assert all(check.passed for check in results)


def test_the_first_failed_check_binds_and_mending_it_meets_the_next() -> None:
    poor = {"broker_account": account(100_000, last_equity_usd=110_000, buying_power_usd=100, status="ACCOUNT_UPDATED")}
    counters = DayCounters(market=Market.US_EQUITY, session=NEXT_SESSION, orders_count=50)
    full = [venue_position(symbol, 21_000) for symbol in ("AAA", "BBB", "CCC", "EEE", "FFF")]
    crowded, tech = full[1:], [full[1], full[3], full[4]]
    sound = account(100_000, buying_power_usd=100)
    steps: list[tuple[str, DeskView, dict[str, object]]] = [
        ("halt", desk(NO_SNAPSHOT, is_halted=True), {}),
        ("broker_truth", desk(NO_SNAPSHOT), {}),
        ("broker_truth", desk(snapshot(*full, age_s=3601, **poor)), {}),  # type: ignore[arg-type]  # one keyword
        ("account", desk(snapshot(*full, **poor), counters=counters), {}),  # type: ignore[arg-type]  # one keyword
        ("daily_loss", desk(snapshot(*full, broker_account=account(100_000, last_equity_usd=110_000)), counters=counters), {}),
        ("orders_per_session", desk(snapshot(*full, broker_account=sound), counters=counters), {}),
        ("symbol_free", desk(snapshot(*full, venue_position("DDD"), broker_account=sound)), {}),
        ("positions", desk(snapshot(*crowded, venue_position("DDD"), broker_account=sound)), {}),
        ("sector_positions", desk(snapshot(*tech, broker_account=sound)), {}),
        ("sector_exposure", desk(snapshot(venue_position("BBB", 55_000), broker_account=sound)), {}),
        ("gross_exposure", desk(snapshot(venue_position("CCC", 95_000), broker_account=sound)), {}),
        ("position_weight", desk(snapshot(broker_account=sound)), {"quantity_shares": 200, "stop_loss_frac": Decimal("0.2")}),
        ("risk_per_trade", desk(snapshot(broker_account=sound)), {"stop_loss_frac": Decimal("0.2")}),
        ("buying_power", desk(snapshot(broker_account=sound)), {"average_volume_shares": Decimal(500)}),
        ("volume_share", desk(), {"average_volume_shares": Decimal(500)}),
        ("minimum_notional", desk(), {"quantity_shares": 0}),
        ("", desk(), {}),
    ]
    for name, view, changes in steps:
        found = case(view, **changes)  # type: ignore[arg-type]  # a table of fields
        failed = next((check for check in evaluate(found) if not check.passed), None)
        assert (failed.check if failed else "") == name
        assert first_failed(found) == failed


def test_coverage_below_the_limit_stops_entries() -> None:
    sound = case()
    for coverage, passed in ((Decimal("0.80"), True), (Decimal("0.79"), False), (None, True)):
        found = EntryCase(sound.candidate, sound.quantity_shares, "", sound.desk, sound.exposure, sound.limits, coverage)
        assert result(found, "universe_coverage").passed is passed


AT_LIMIT = RiskLimits(notional_usd_min=Decimal(10_000))


@pytest.mark.parametrize(
    ("name", "passing", "failing", "measured"),
    [
        ("broker_truth", case(desk(snapshot(age_s=3600))), case(desk(snapshot(age_s=3601))), "3601"),
        ("broker_truth", case(desk(snapshot(age_s=-3600))), case(desk(snapshot(age_s=-3601))), "3601"),
        (
            "daily_loss", case(desk(snapshot(broker_account=account(95_000, last_equity_usd=100_000)))),
            case(desk(snapshot(broker_account=account(94_999, last_equity_usd=100_000)))), "0.05001",
        ),
        (
            "positions", case(desk(snapshot(*(venue_position(f"P{number}") for number in range(4))))),
            case(desk(snapshot(*(venue_position(f"P{number}") for number in range(5))))), "6",
        ),
        (
            "positions", case(desk(snapshot(*(venue_position(f"P{number}") for number in range(3))), orders=[order("BBB")])),
            case(desk(snapshot(*(venue_position(f"P{number}") for number in range(4))), orders=[order("BBB")])), "6",
        ),
        (
            "sector_positions", case(desk(snapshot(venue_position("BBB"), venue_position("EEE")))),
            case(desk(snapshot(venue_position("BBB"), venue_position("EEE")), orders=[order("FFF")])), "4",
        ),
        (
            "sector_exposure", case(desk(snapshot(venue_position("BBB", 49_500)))),
            case(desk(snapshot(venue_position("BBB", 49_501)))), "0.60001",
        ),
        (
            "gross_exposure", case(desk(snapshot(venue_position("CCC", 89_500)))),
            case(desk(snapshot(venue_position("CCC", 89_501)))), "1.00001",
        ),
        ("position_weight", case(quantity_shares=190), case(quantity_shares=191), "0.20055"),
        ("risk_per_trade", case(stop_loss_frac=Decimal("0.19")), case(stop_loss_frac=Decimal("0.191")), "0.020055"),
        (
            "buying_power", case(desk(snapshot(broker_account=account(buying_power_usd=10_500)))),
            case(desk(snapshot(broker_account=account(buying_power_usd=10_499)))), "10500",
        ),
        ("volume_share", case(average_volume_shares=Decimal(10_000)), case(average_volume_shares=Decimal(8_000)), "0.0125"),
        ("minimum_notional", case(limits=AT_LIMIT), case(limits=AT_LIMIT, quantity_shares=99), "9900"),
    ],
)
def test_each_limit_is_the_last_value_that_passes(name: str, passing: EntryCase, failing: EntryCase, measured: str) -> None:
    assert result(passing, name).passed
    assert not result(failing, name).passed
    assert result(failing, name).measured == Decimal(measured)


def test_without_the_brokers_truth_nothing_that_needs_it_passes() -> None:
    passed = {check.check for check in evaluate(case(desk(NO_SNAPSHOT))) if check.passed}
    assert passed == {"halt", "universe_coverage", "volume_share", "minimum_notional", "price_collar"}


def test_a_blocked_or_unusual_account_enters_nothing() -> None:
    for changes in ({"trading_blocked": True}, {"status": "ACCOUNT_CLOSED"}):
        restricted = account().model_copy(update=changes)
        assert not result(case(desk(snapshot(broker_account=restricted))), "account").passed


def test_no_equity_is_no_room() -> None:
    results = evaluate(case(desk(snapshot(broker_account=account(0)))))
    failed = {check.check for check in results if not check.passed}
    assert failed >= {"sector_exposure", "gross_exposure", "position_weight", "risk_per_trade", "buying_power"}
    assert {check.check: check.note for check in results}["daily_loss"] == "no equity at the last close"


def test_a_gain_is_no_loss() -> None:
    for last_equity_usd in ("100000", "100000.123456789"):
        view = desk(snapshot(broker_account=account(120_000, last_equity_usd=last_equity_usd)))
        assert str(result(case(view), "daily_loss").measured) == "0", "not 0E+9"


def test_an_unpriced_order_makes_the_gross_exposure_unknown() -> None:
    found = result(case(desk(snapshot(orders=[venue_order("ZZZ")]))), "gross_exposure")
    assert (found.passed, found.measured) == (False, None)
    assert "ZZZ" in found.note


def test_an_unknown_volume_is_not_checked_and_says_so() -> None:
    found = result(case(), "volume_share")
    assert (found.passed, found.measured, found.note) == (True, None, "volume unknown: not checked")
    assert not result(case(average_volume_shares=Decimal(0)), "volume_share").passed


def test_less_than_one_is_not_nothing() -> None:
    """Half a coin a day is a volume, half a dollar is a price, and one dollar is equity."""
    assert result(case(average_volume_shares=Decimal("0.5")), "volume_share").measured == 200
    coin = case(reference_price_usd=Decimal("0.5"))
    seen = Quote(symbol="AAA", bid_usd=Decimal("0.5"), ask_usd=Decimal("0.5"), quoted_at=NOW)
    quoted = EntryCase(coin.candidate, coin.quantity_shares, "", coin.desk, coin.exposure, coin.limits, quote=seen)
    assert evaluate(quoted, risk.PLACING_CHECKS)[-1].passed
    poor = case(desk(snapshot(broker_account=account(1))))
    assert result(poor, "gross_exposure").measured == 10_500


def quote(bid: str, ask: str) -> Quote:
    return Quote(symbol="AAA", bid_usd=Decimal(bid), ask_usd=Decimal(ask), quoted_at=NOW)


@pytest.mark.parametrize(
    ("seen", "passed", "note"),
    [
        (quote("104.9", "105.1"), True, ""), (quote("105.0", "105.1"), False, ""), (quote("94.9", "95.1"), True, ""),
        (quote("94.8", "95.1"), False, ""), (None, False, "no quote"), (quote("0", "105"), False, "bid 0, ask 105 is no market"),
        (quote("101", "100"), False, "bid 101, ask 100 is no market"), (quote("0.5", "199.5"), True, ""),
    ],
)
def test_the_collar_holds_the_middle_of_the_quote_to_the_reference(seen: Quote | None, passed: bool, note: str) -> None:
    sound = case()
    found = EntryCase(sound.candidate, sound.quantity_shares, "", sound.desk, sound.exposure, sound.limits, quote=seen)
    collar = next(one for one in evaluate(found, risk.PLACING_CHECKS) if one.check == "price_collar")
    assert (collar.check, collar.passed, collar.note) == ("price_collar", passed, note)


def test_when_planning_the_collar_waits_for_a_quote() -> None:
    assert result(case(), "price_collar").note == "checked at the open"


def test_what_is_final_for_one_candidate_is_final_for_all() -> None:
    """A check named final must not look at the candidate, or the entries chosen would depend on who was asked first."""
    final = desk(snapshot(*(venue_position(f"P{number}") for number in range(5))), is_halted=True)
    for symbol in ("AAA", "DDD", "NEW"):
        failed = {check.check for check in evaluate(case(final, symbol=symbol)) if not check.passed}
        assert failed == {"halt", "positions"}
    assert set(NAMES) >= risk.FINAL_CHECKS
