"""The risk checks: one small function each, every one evaluated, so that a refusal can show all its numbers.

A check never guesses: without the broker's truth, what must be measured against it fails. What the market does not tell (a
volume) passes and says so. The first failed check is the binding one; they stand in the order in which a human would ask.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from closebell.decision.desk_view import DeskView
from closebell.decision.exposure import Exposure
from closebell.model.broker import Quote
from closebell.model.decision import CheckResult
from closebell.model.instruments import Market
from closebell.model.parameters import RiskLimits

_ZERO, _ONE = Decimal(0), Decimal(1)
_OF_REFERENCE = "of the reference price"


@dataclass(frozen=True)
class Candidate:
    """A symbol the ensemble would buy, before its size.

    Parameters
    ----------
    reference_price_usd
        The close that the decision was made at.
    commitment_price_usd
        What a share is taken to cost when it counts against a limit: the limit price, or as far above the reference as the
        price collar lets the open be; when the order is placed, the ask.
    stop_loss_frac
        Distance of the stop below the fill, as a fraction of it.
    average_volume_shares
        The mean of the volumes that are known of the last 20 sessions; None when there are none.
    """

    symbol: str
    sector: str
    market: Market
    reference_price_usd: Decimal
    commitment_price_usd: Decimal
    stop_loss_frac: Decimal
    average_volume_shares: Decimal | None


@dataclass(frozen=True)
class EntryCase:
    """All that the checks look at. `sized_by` names what kept the quantity from being larger, "" when it was given.

    `coverage_frac` is the share of the universe with usable bars; None when the bars are not at hand.
    """

    candidate: Candidate
    quantity_shares: Decimal
    sized_by: str
    desk: DeskView
    exposure: Exposure | None
    limits: RiskLimits
    coverage_frac: Decimal | None = None
    quote: Quote | None = None

    @property
    def committed_usd(self) -> Decimal:
        return self.quantity_shares * self.candidate.commitment_price_usd


class Measurement(NamedTuple):
    """What a check measured, exactly, beside its bound (both in `unit`). `value` is None where nothing could be measured."""

    check: str
    value: Decimal | None
    bound: Decimal
    unit: str
    holds: bool
    note: str

    def told(self) -> CheckResult:
        """As it is written down: six decimals are enough to read; whether it holds was decided on all of them."""
        value = self.value
        if value is not None and value != value.to_integral_value():
            value = round(value, 6)
        return CheckResult(check=self.check, measured=value, limit=self.bound, unit=self.unit, passed=self.holds, note=self.note)


Check = Callable[[EntryCase], Measurement]


def check_halt(case: EntryCase) -> Measurement:
    """Entries stop when anyone or anything halted the desk."""
    halted = Decimal(int(case.desk.is_halted))
    return _at_most("halt", halted, _ZERO, "halts", "the desk is halted" if halted else "")


def check_broker_truth(case: EntryCase) -> Measurement:
    """The snapshot's age; a snapshot from the future is as wrong as an old one."""
    limit = Decimal(case.limits.snapshot_age_s_max)
    if case.desk.snapshot is None:
        return _unmeasured("broker_truth", limit, "s", "the broker could not be read")
    age = Decimal(int(abs((case.desk.as_of - case.desk.snapshot.as_of).total_seconds())))
    return _at_most("broker_truth", age, limit, "s")


def check_account(case: EntryCase) -> Measurement:
    """The broker lets the account trade."""
    if case.desk.snapshot is None:
        return _unmeasured("account", _ZERO, "restrictions", "the broker could not be read")
    account = case.desk.snapshot.account
    is_restricted = account.trading_blocked or account.status.upper() != "ACTIVE"
    note = f"trading is blocked, status {account.status}" if is_restricted else ""
    return _at_most("account", Decimal(int(is_restricted)), _ZERO, "restrictions", note)


def check_coverage(case: EntryCase) -> Measurement:
    """When much of the feed is unusable, the rest is not to be trusted either."""
    limit = case.limits.universe_coverage_frac_min
    if case.coverage_frac is None:
        return _not_asked("universe_coverage", limit, "of the universe", "checked when planned")
    return _at_least("universe_coverage", case.coverage_frac, limit, "of the universe")


def check_daily_loss(case: EntryCase) -> Measurement:
    """Equity lost since the last close."""
    limit = case.limits.daily_loss_frac_max
    if case.exposure is None:
        return _unmeasured("daily_loss", limit, "of last equity", "the broker could not be read")
    if case.exposure.day_loss_frac is None:
        return _not_asked("daily_loss", limit, "of last equity", "no equity at the last close")
    return _at_most("daily_loss", case.exposure.day_loss_frac, limit, "of last equity")


def check_orders_per_session(case: EntryCase) -> Measurement:
    """Orders committed for the session, with this one."""
    limit = Decimal(case.limits.orders_per_session_count_max)
    if case.exposure is None:
        return _unmeasured("orders_per_session", limit, "orders", "the broker could not be read")
    return _at_most("orders_per_session", Decimal(case.exposure.orders_count + 1), limit, "orders")


def check_positions(case: EntryCase) -> Measurement:
    """Positions held or ordered, the user's own included, with this one."""
    limit = Decimal(case.limits.positions_count_max)
    if case.exposure is None:
        return _unmeasured("positions", limit, "positions", "the broker could not be read")
    return _at_most("positions", Decimal(len(case.exposure.slots | {case.candidate.symbol})), limit, "positions")


def check_symbol_free(case: EntryCase) -> Measurement:
    """Nothing is held, ordered or disputed in the symbol."""
    if case.exposure is None:
        return _unmeasured("symbol_free", _ZERO, "positions or orders", "the broker could not be read")
    why = case.exposure.blocked.get(case.candidate.symbol, "")
    return _at_most("symbol_free", Decimal(int(bool(why))), _ZERO, "positions or orders", why)


def check_sector_positions(case: EntryCase) -> Measurement:
    """Positions held or ordered in the sector, with this one."""
    limit = Decimal(case.limits.positions_per_sector_count_max)
    if case.exposure is None:
        return _unmeasured("sector_positions", limit, "positions", "the broker could not be read")
    others = case.exposure.sector_slots(case.candidate.sector) - (case.candidate.symbol in case.exposure.slots)
    return _at_most("sector_positions", Decimal(others + 1), limit, "positions", f"sector {case.candidate.sector}")


def check_sector_exposure(case: EntryCase) -> Measurement:
    """Value held or ordered in the sector, with this one."""
    held = case.exposure.sector_usd(case.candidate.sector) if case.exposure else _ZERO
    return _of_equity("sector_exposure", case, held + case.committed_usd, case.limits.sector_exposure_frac_max)


def check_gross_exposure(case: EntryCase) -> Measurement:
    """Value held or ordered in all, with this one."""
    if case.exposure and case.exposure.unpriced:
        note = f"the value of a resting order in {', '.join(case.exposure.unpriced)} is unknown"
        return _unmeasured("gross_exposure", case.limits.gross_exposure_frac_max, "of equity", note)
    held = case.exposure.gross_usd if case.exposure else _ZERO
    return _of_equity("gross_exposure", case, held + case.committed_usd, case.limits.gross_exposure_frac_max)


def check_position_weight(case: EntryCase) -> Measurement:
    """Value held or ordered in the symbol, with this one."""
    held = case.exposure.values_usd.get(case.candidate.symbol, _ZERO) if case.exposure else _ZERO
    return _of_equity("position_weight", case, held + case.committed_usd, case.limits.position_weight_frac_max)


def check_risk_per_trade(case: EntryCase) -> Measurement:
    """What is lost of equity when the stop fills at its price."""
    at_risk = case.committed_usd * case.candidate.stop_loss_frac
    return _of_equity("risk_per_trade", case, at_risk, case.limits.risk_per_trade_frac_max)


def check_buying_power(case: EntryCase) -> Measurement:
    """What the entry may cost, against what the broker lets us spend."""
    if case.exposure is None:
        return _unmeasured("buying_power", _ZERO, "USD", "the broker could not be read")
    return _at_most("buying_power", case.committed_usd, case.exposure.buying_power_usd, "USD")


def check_volume_share(case: EntryCase) -> Measurement:
    """The order against a usual day, so that we do not move the price."""
    limit, volume = case.limits.volume_share_frac_max, case.candidate.average_volume_shares
    if volume is None:
        return _not_asked("volume_share", limit, "of daily volume", "volume unknown: not checked")
    if volume <= 0:
        return _unmeasured("volume_share", limit, "of daily volume", "nothing is traded")
    return _at_most("volume_share", case.quantity_shares / volume, limit, "of daily volume")


def check_minimum_notional(case: EntryCase) -> Measurement:
    """Smaller orders cost more than they bring; a limit that leaves too little room denies the entry here."""
    notional = case.quantity_shares * case.candidate.reference_price_usd
    note = f"sized to {case.quantity_shares.normalize():f} by {case.sized_by}" if case.sized_by else ""
    return _at_least("minimum_notional", notional, case.limits.notional_usd_min, "USD", note)


def check_collar_later(case: EntryCase) -> Measurement:
    """When planning there is no quote: the reference is the close, and the collar is checked when the order is placed."""
    return _not_asked("price_collar", case.limits.price_collar_frac, _OF_REFERENCE, "checked at the open")


def check_collar(case: EntryCase) -> Measurement:
    """How far the quote has moved from the price that the plan was made at."""
    limit, quote = case.limits.price_collar_frac, case.quote
    if quote is None:
        return _unmeasured("price_collar", limit, _OF_REFERENCE, "no quote")
    if quote.bid_usd <= 0 or quote.ask_usd < quote.bid_usd:
        return _unmeasured("price_collar", limit, _OF_REFERENCE, f"bid {quote.bid_usd}, ask {quote.ask_usd} is no market")
    moved = abs(quote.mid_usd / case.candidate.reference_price_usd - _ONE)
    return _at_most("price_collar", moved, limit, _OF_REFERENCE)


def check_quote_age(case: EntryCase) -> Measurement:
    """How old the quote is that the collar and the cost are judged by; one from the future is as wrong as an old one."""
    limit = Decimal(case.limits.quote_age_s_max)
    if case.quote is None:
        return _unmeasured("quote_age", limit, "s", "no quote")
    age = Decimal(int(abs((case.desk.as_of - case.quote.quoted_at).total_seconds())))
    return _at_most("quote_age", age, limit, "s")


_CHECKS: tuple[Check, ...] = (
    check_halt, check_broker_truth, check_account, check_coverage, check_daily_loss, check_orders_per_session, check_symbol_free,
    check_positions, check_sector_positions, check_sector_exposure, check_gross_exposure, check_position_weight,
    check_risk_per_trade, check_buying_power, check_volume_share, check_minimum_notional,
)

FINAL_CHECKS = frozenset({
    "halt", "broker_truth", "account", "universe_coverage", "daily_loss", "orders_per_session", "positions",
})
"""Once one of these denies a free symbol, it denies every one that follows."""

PLANNING_CHECKS = (*_CHECKS, check_collar_later)
PLACING_CHECKS = (*_CHECKS, check_collar, check_quote_age)


def evaluate(case: EntryCase, checks: tuple[Check, ...] = PLANNING_CHECKS) -> tuple[CheckResult, ...]:
    """Every check with its number and its limit."""
    return tuple(check(case).told() for check in checks)


def first_failed(case: EntryCase, checks: tuple[Check, ...] = PLANNING_CHECKS) -> CheckResult | None:
    """The check that denies the entry, with nothing evaluated that follows; None when all pass."""
    return next((found.told() for check in checks if not (found := check(case)).holds), None)


def _at_most(check: str, measured: Decimal, limit: Decimal, unit: str, note: str = "") -> Measurement:
    return Measurement(check, measured, limit, unit, measured <= limit, note)


def _at_least(check: str, measured: Decimal, limit: Decimal, unit: str, note: str = "") -> Measurement:
    return Measurement(check, measured, limit, unit, measured >= limit, note)


def _unmeasured(check: str, limit: Decimal, unit: str, note: str) -> Measurement:
    return Measurement(check, None, limit, unit, False, note)


def _not_asked(check: str, limit: Decimal, unit: str, note: str) -> Measurement:
    return Measurement(check, None, limit, unit, True, note)


def _of_equity(check: str, case: EntryCase, value_usd: Decimal, limit: Decimal) -> Measurement:
    if case.exposure is None:
        return _unmeasured(check, limit, "of equity", "the broker could not be read")
    if case.exposure.equity_usd <= 0:
        return _unmeasured(check, limit, "of equity", f"equity is {case.exposure.equity_usd} USD")
    return _at_most(check, value_usd / case.exposure.equity_usd, limit, "of equity")
