"""Numbers and dates as a reader of mails, pages and tables on the terminal sees them. Sentences elsewhere that name a limit or a
count, such as notes and errors, write their own.

Thousands have commas, minus is U+2212, and the blank before % does not break.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from closebell.model.instruments import Market

MINUS = "\N{MINUS SIGN}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
UNKNOWN = "\N{EN DASH}"
"""Stands where a number is not known."""

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def number(value: Decimal, places: int, *, signed: bool = False, unit: str = "") -> str:
    """`value` rounded half to even, `unit` before the digits; what rounds to zero has no sign."""
    rounded = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}{unit}{abs(rounded):,.{places}f}"


def usd(value: Decimal, places: int = 2, *, signed: bool = False) -> str:
    """Dollars: `$1,234.50`, with a sign `+$1,234.50`."""
    return number(value, places, signed=signed, unit="$")


def price(value: Decimal) -> str:
    """A price with the decimals it needs: two from a dollar up, four significant digits below."""
    if value == 0 or abs(value) >= 1:
        return usd(value)
    return usd(value, min(8, 3 - value.adjusted()))


def percent(frac: Decimal, places: int = 1, *, signed: bool = False) -> str:
    """A fraction as percent: 0.004 is `0.4 %`."""
    return f"{number(frac * 100, places, signed=signed)}{NO_BREAK_SPACE}%"


def quantity(shares: Decimal) -> str:
    """Shares or coins with the decimals they have, at most eight."""
    digits = number(shares, 8)
    return digits.rstrip("0").rstrip(".")


def measure(value: Decimal, unit: str) -> str:
    """A risk check's number as its unit wants it: a fraction `of equity` as percent, `USD` as dollars, anything else as it is."""
    if unit.startswith("of "):
        return percent(value)
    return usd(value) if unit == "USD" else quantity(value)


def day(at: date) -> str:
    """`Mon 1 Oct 2018`."""
    return f"{_WEEKDAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]} {at.year}"


def short_day(at: date) -> str:
    """`1 Oct`."""
    return f"{at.day} {_MONTHS[at.month - 1]}"


def month(at: date) -> str:
    """`Oct 2018`."""
    return f"{_MONTHS[at.month - 1]} {at.year}"


def instant(at: datetime, market: Market) -> str:
    """An instant in the market's own time: `Mon 1 Oct 2018, 16:05 EDT`."""
    local = at.astimezone(market.zone)
    return f"{day(local.date())}, {local:%H:%M %Z}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 symbol`, `2 symbols`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; nothing for nothing."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


def dotted(terms: Sequence[str]) -> str:
    """Terms in a row, `a · b`; a line may break after a dot, never inside a term."""
    return f"{NO_BREAK_SPACE}· ".join(term.replace(" ", NO_BREAK_SPACE) for term in terms)


def words(name: str) -> str:
    """A name from the code as words: `sector_exposure` is `sector exposure`."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """The first letter large; the rest as it is."""
    return text[:1].upper() + text[1:]
