"""What a sweep tries: parameters by name with the values that each takes, and the points that they make.

A parameter is named as in the configuration (`exits.stop_loss_frac`), `universe_count` is how many of the configuration's first
instruments are traded, `universe` which of its symbols. Values are a list (`0.02,0.03`), whole numbers (`1..4`), a range with a
step (`0.02..0.06..0.01`) or, for `strategies` and `universe`, names joined by a plus (`rsi,rsi+macd`). All of it is checked
before anything runs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from itertools import product
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from closebell import strategies as registry
from closebell.backtest.desk.known_evidence import traded_instruments
from closebell.backtest.run import span_of
from closebell.configuration import allowed_values
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket

UNIVERSE, UNIVERSE_COUNT, STRATEGY_NAMES, VOTES = "universe", "universe_count", "strategies", "votes_to_act_count_min"
POINTS_COUNT_MAX = 10_000
_DIGITS_MAX = 12
"""Before and after the point of a range's numbers: no parameter needs more, and decimal arithmetic ends somewhere."""

_NOT_SWEPT = {"schema_version", "version_count", "universe", "regime_symbol", "crypto_regime_symbol"}


@dataclass(frozen=True)
class SweepAxis:
    """One parameter and the values it takes, as text; `is_ordered` when they are ascending numbers."""

    name: str
    values: tuple[str, ...]
    is_ordered: bool


@dataclass(frozen=True)
class SweepPoint:
    """One choice of values and the configuration that it makes; without one `fault` says why no desk can have it."""

    values: Mapping[str, str]
    parameters: ParameterSet | None
    fault: str = ""


def swept_fields() -> dict[str, FieldInfo]:
    """The parameters that can be swept, by their names in the configuration."""
    found: dict[str, FieldInfo] = {}
    for name, field in ParameterSet.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= {f"{name}.{key}": part for key, part in inner.model_fields.items()}
        elif name not in _NOT_SWEPT:
            found[name] = field
    return found


def desk_in(parameters: ParameterSet, market: Market) -> ParameterSet:
    """The configuration with the instruments of one market alone, as a sweep trades it. Raises ConfigurationError without any."""
    return parameters.model_copy(update={UNIVERSE: traded_instruments(parameters, market)})


def read_axes(texts: Sequence[str], base: ParameterSet) -> tuple[SweepAxis, ...]:
    """The axes that `name=values` texts describe, in their order.

    Raises ConfigurationError, one line for each thing that is wrong: a parameter that does not exist, with those that do; one
    that stands twice; a value that it cannot take, with what it can.
    """
    axes: list[SweepAxis] = []
    faults: list[str] = []
    for text in texts:
        name, equals, listed = (part.strip() for part in text.partition("="))
        if not equals or not name:
            faults.append(f"{text!r} is no parameter with values: write it like exits.stop_loss_frac=0.02,0.03")
        elif name not in (known := (*swept_fields(), UNIVERSE, UNIVERSE_COUNT)):
            close = get_close_matches(name, known, n=1)
            meant = f" did you mean {close[0]}?" if close else ""
            faults.append(f"there is no parameter {name!r};{meant} Allowed: {', '.join(sorted(known))}")
        elif name in {axis.name for axis in axes}:
            faults.append(f"{name} stands twice: write all of its values in one list")
        else:
            axis, wrong = _axis(name, listed, base)
            axes.append(axis)
            faults += wrong
    if {UNIVERSE, UNIVERSE_COUNT} <= {axis.name for axis in axes}:
        faults.append(f"{UNIVERSE} and {UNIVERSE_COUNT} both say what is traded: sweep one of them")
    if faults:
        raise ConfigurationError("the sweep cannot be run:\n" + "\n".join(f"  {fault}" for fault in faults))
    if not axes:
        raise ConfigurationError("nothing is swept: name a parameter and its values, like exits.stop_loss_frac=0.02,0.03")
    return tuple(axes)


def grid_points(axes: Sequence[SweepAxis], base: ParameterSet) -> list[SweepPoint]:
    """Every combination of the axes' values. Raises ConfigurationError when there are too many, or none that can be."""
    count = math.prod(len(axis.values) for axis in axes)
    if count > POINTS_COUNT_MAX:
        raise ConfigurationError(f"the grid has {count:,} points, at most {POINTS_COUNT_MAX:,} are tried: search it with optuna")
    points = [
        point_of(base, dict(zip((axis.name for axis in axes), values, strict=True)))
        for values in product(*(axis.values for axis in axes))
    ]
    if all(point.parameters is None for point in points):
        raise ConfigurationError(f"no point of the grid can be run; {points[0].fault}")
    return points


def point_of(base: ParameterSet, values: Mapping[str, str]) -> SweepPoint:
    """The configuration with some values in place of its own; votes that are not swept are at most as many as the voters."""
    try:
        return SweepPoint(values, ParameterSet.model_validate(_with_values(base, values)))
    except ValidationError as error:
        told = "; ".join(f"{details.get('ctx', {}).get('error') or details['msg']}" for details in error.errors())
        return SweepPoint(values, None, f"this combination cannot be: {told}")


def sweep_span(
    market: BarMarket, base: ParameterSet, axes: Sequence[SweepAxis], first: date | None, last: date | None
) -> tuple[date, date]:
    """The sessions that every point trades: those after the longest look back of all. Raises ConfigurationError as `span_of`."""
    swept = [value for axis in axes if axis.name == STRATEGY_NAMES for value in axis.values]
    names = tuple(sorted({name for value in swept for name in value.split("+")})) or base.strategies
    return span_of(market, base.model_copy(update={"strategies": names}), first, last)


def _with_values(base: ParameterSet, values: Mapping[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {name: getattr(base, name) for name in ParameterSet.model_fields}
    for name, text in values.items():
        table, _, key = name.rpartition(".")
        if name == UNIVERSE_COUNT:
            data[UNIVERSE] = base.universe[: int(text)]
        elif name == UNIVERSE:
            data[UNIVERSE] = tuple(instrument for instrument in base.universe if instrument.symbol in text.split("+"))
        elif name == STRATEGY_NAMES:
            data[name] = tuple(text.split("+"))
        elif table:
            data[table] = {**dict(data[table]), key: text}
        else:
            data[name] = text
    if STRATEGY_NAMES in values and VOTES not in values:
        data[VOTES] = min(base.votes_to_act_count_min, len(data[STRATEGY_NAMES]))
    return data


def _axis(name: str, listed: str, base: ParameterSet) -> tuple[SweepAxis, list[str]]:
    """An axis, and what is wrong with its values."""
    values: list[str] = []
    faults: list[str] = []
    for part in (part.strip() for part in listed.split(",")):
        try:
            values += _range(name, part) if ".." in part else [part]
        except ConfigurationError as error:
            faults.append(f"{error}")
    alike: dict[ParameterSet | str, str] = {}
    for value in values:
        wrong = list(_value_faults(name, value, base))
        settled = value if wrong else point_of(base, {name: value}).parameters or value
        if settled in alike:
            faults.append(f"{name}: {value} stands twice" + (f", once as {alike[settled]}" if value != alike[settled] else ""))
            continue
        alike[settled] = value
        faults += wrong
    numbers = [number for number in map(_number, values) if number is not None]
    is_ordered = len(numbers) == len(values) and all(low < high for low, high in zip(numbers, numbers[1:], strict=False))
    return SweepAxis(name, tuple(values), is_ordered), faults


def _range(name: str, text: str) -> Iterator[str]:
    """`1..4` and `0.02..0.06..0.01`, its end included. Raises ConfigurationError."""
    parts = [_number(part) for part in text.split("..")]
    low, high, step = parts if len(parts) == 3 else (*parts[:2], Decimal(1))
    if low is None or high is None or step is None or len(parts) > 3 or low > high or step <= 0:
        raise ConfigurationError(f"{name}: {text!r} is no range; write it like 1..4, or 0.02..0.06..0.01 with the step last")
    if any(abs(part.adjusted()) > _DIGITS_MAX for part in (low, high, step)):
        raise ConfigurationError(f"{name}: the range {text!r} has a number of more than {_DIGITS_MAX} digits")
    if len(parts) == 2 and (low % 1 or high % 1):
        raise ConfigurationError(f"{name}: the range {text!r} needs a step; write it like {text}..0.01")
    count = int((high - low) / step) + 1
    if count > POINTS_COUNT_MAX:
        raise ConfigurationError(f"{name}: the range {text!r} has {count:,} values, at most {POINTS_COUNT_MAX:,} are tried")
    return (f"{low + step * place:f}" for place in range(count))


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _value_faults(name: str, value: str, base: ParameterSet) -> Iterator[str]:
    """Why a parameter cannot have a value, whatever the others are."""
    of = ", ".join(base.markets)
    if name == UNIVERSE_COUNT:
        count = len(base.universe)
        if not value.isdecimal() or len(value) > _DIGITS_MAX or not 1 <= int(value) <= count:
            yield f"{name} is {value!r}; it takes a whole number from 1 to {count}, the {of} instruments of the configuration"
    elif name == UNIVERSE:
        symbols = [instrument.symbol for instrument in base.universe]
        yield from _repeated(name, value, "a symbol is traded once")
        for unknown in (word for word in dict.fromkeys(value.split("+")) if word not in symbols):
            yield f"there is no symbol {unknown!r} in the configuration's universe of {of} instruments, such as {symbols[0]}"
    elif name == STRATEGY_NAMES:
        for unknown in (word for word in dict.fromkeys(value.split("+")) if word not in registry.STRATEGIES):
            yield f"there is no strategy {unknown!r}. Allowed: {', '.join(registry.STRATEGIES)}"
        yield from _repeated(name, value, "a strategy votes once")
    else:
        try:
            ParameterSet.model_validate(_with_values(base, {name: value}))
        except ValidationError as error:
            if any(".".join(map(str, details["loc"])) == name for details in error.errors()):
                yield f"{name} is {value!r}; it takes {allowed_values(swept_fields()[name])}"


def _repeated(name: str, value: str, rule: str) -> Iterator[str]:
    words = value.split("+")
    if len(set(words)) < len(words):
        yield f"{name} is {value!r}: {rule}"
