"""Numbers as a reader sees them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from closebell.model.instruments import Market
from closebell.reports import formatting
from closebell.reports.formatting import counted, day, instant, listed, measure, percent, price, quantity, short_day, usd


@pytest.mark.parametrize(("value", "shown"), [
    ("1234.5", "$1,234.50"), ("-1234.5", "−$1,234.50"), ("0", "$0.00"), ("-0.001", "$0.00"), ("0.005", "$0.00"),
    ("0.015", "$0.02"),
    ("123456789.99", "$123,456,789.99"),
])
def test_dollars(value: str, shown: str) -> None:
    assert usd(Decimal(value)) == shown


@pytest.mark.parametrize(("value", "shown"), [("5", "+$5.00"), ("-5", "−$5.00"), ("0", "$0.00"), ("0.004", "$0.00")])
def test_a_signed_number_has_a_sign_unless_it_rounds_to_zero(value: str, shown: str) -> None:
    assert usd(Decimal(value), signed=True) == shown


@pytest.mark.parametrize(("frac", "shown"), [
    ("0.004", "0.4\u00a0%"), ("-0.03", "−3.0\u00a0%"), ("-0.0001", "0.0\u00a0%"), ("1", "100.0\u00a0%"),
])
def test_percent_is_a_hundred_times_the_fraction(frac: str, shown: str) -> None:
    assert percent(Decimal(frac)) == shown


@pytest.mark.parametrize(("value", "shown"), [
    ("227.256", "$227.26"), ("1", "$1.00"), ("0.5", "$0.5000"), ("0.061234", "$0.06123"), ("0.00001234", "$0.00001234"),
    ("0", "$0.00"),
])
def test_a_price_keeps_the_digits_it_needs(value: str, shown: str) -> None:
    assert price(Decimal(value)) == shown


@pytest.mark.parametrize(("shares", "shown"), [
    ("35", "35"), ("35.00", "35"), ("1500", "1,500"), ("0.01250000", "0.0125"), ("-10", "−10"), ("0", "0"),
])
def test_a_quantity_has_no_trailing_zeros(shares: str, shown: str) -> None:
    assert quantity(Decimal(shares)) == shown


@pytest.mark.parametrize(("value", "unit", "shown"), [
    ("0.66", "of equity", "66.0\u00a0%"), ("100", "USD", "$100.00"), ("5", "positions", "5"), ("3600", "s", "3,600"),
])
def test_a_checks_number_is_shown_in_its_unit(value: str, unit: str, shown: str) -> None:
    assert measure(Decimal(value), unit) == shown


def test_dates_do_not_depend_on_the_locale() -> None:
    assert day(date(2018, 10, 1)) == "Mon 1 Oct 2018"
    assert short_day(date(2024, 2, 29)) == "29 Feb"
    assert formatting.month(date(2024, 2, 29)) == "Feb 2024"


def test_an_instant_is_shown_in_the_markets_own_time() -> None:
    at = datetime(2018, 11, 5, 21, 5, tzinfo=UTC)
    assert instant(at, Market.US_EQUITY) == "Mon 5 Nov 2018, 16:05 EST"
    assert instant(at, Market.CRYPTO) == "Mon 5 Nov 2018, 21:05 UTC"


def test_words_in_a_row() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [counted(0, "symbol"), counted(1, "symbol"), counted(1200, "symbol")] == ["0 symbols", "1 symbol", "1,200 symbols"]
