"""The desk's configuration: TOML text in, a `ParameterSet` out, or one error that names everything that is wrong.

The universe is written by sector, one list of symbols each; whatever is left out keeps the default of `ParameterSet`:

    regime_symbol = "SPY"

    [limits]
    positions_count_max = 5

    [universe]
    information_technology = ["AAPL", "MSFT"]
    crypto = ["BTC/USD"]
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.model.parameters import ParameterSet

CRYPTO_SECTOR = "crypto"
SECTORS = (
    "communication_services", "consumer_discretionary", "consumer_staples", "energy", "financials", "health_care", "industrials",
    "information_technology", "materials", "real_estate", "utilities", "funds", CRYPTO_SECTOR,
)
"""The eleven GICS sectors, exchange-traded funds, and crypto pairs: what the sector limits count in."""

_STAND_IN = {"symbol": "-", "sector": "-"}
"""For a universe that cannot be read, so that the rest of the configuration is still checked."""

_EQUITY_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(\.[A-Z])?")
_CRYPTO_SYMBOL = re.compile(r"[A-Z0-9]+/[A-Z]+")
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
_KINDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", Decimal: "a number", tuple: "a list", BaseModel: "a table",
}


def read_parameters(text: str, known_strategies: Collection[str]) -> ParameterSet:
    """Read the owner's configuration.

    Parameters
    ----------
    text
        TOML; its keys are the fields of `ParameterSet`, its `[universe]` lists symbols by sector.
    known_strategies
        The names that `strategies` may hold.

    Raises
    ------
    ConfigurationError
        One line for each thing that is wrong: the key, its line, the value, what is allowed, the likely meaning of a typo.
    """
    text = text.removeprefix("\ufeff")  # an editor's mark, no part of the text
    document = _document_of(text)
    lines = _KeyLines(text)
    faults = list(_universe_faults(document.get("universe"), lines))
    universe = [_STAND_IN] if faults else _instruments(document["universe"])
    faults += [*_strategy_faults(document, known_strategies, lines), *_quoted_faults(document, lines)]
    try:
        # As JSON, because only there pydantic's strict mode reads 0.02 as a Decimal and still refuses true for 1.
        parameters = ParameterSet.model_validate_json(json.dumps({**document, "universe": universe}, default=str), strict=True)
    except ValidationError as error:
        faults += [_described(details, lines) for details in error.errors()]
    if faults:
        told = dict.fromkeys(faults)  # two readers may find the same
        raise ConfigurationError("the configuration cannot be used:\n" + "\n".join(f"  {fault}" for fault in told))
    return parameters


def allowed_values(field: FieldInfo) -> str:
    """What a field may hold, in words: `a number above 0, at most 1`."""
    kind = get_origin(field.annotation) or field.annotation
    noun = next((noun for type_, noun in _KINDS.items() if isinstance(kind, type) and issubclass(kind, type_)), "text")
    bounds = [(words, getattr(bound, name, None)) for bound in field.metadata for name, words in _BOUNDS.items()]
    return f"{noun} {', '.join(words.format(limit) for words, limit in bounds if limit is not None)}".rstrip()


def _document_of(text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
        json.dumps(document, default=str)  # what cannot be written, no message could tell of
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the configuration is not TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("the configuration has a number of thousands of digits, or lists in endless lists") from error
    return document


class _KeyLines:
    """Where in the text a key stands, for error messages."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*\[+([\w.]+)\]", line):
                table = tuple(header[1].split("."))
                self._lines.setdefault(table, number)
            elif key := re.match(r"\s*\"?([\w./-]+)\"?\s*=", line):
                self._lines.setdefault((*table, *key[1].split(".")), number)

    def place(self, *path: str) -> str:
        """`limits.positions_count_max (line 12)`; without the line when the key is written in a way not known here."""
        line = self._lines.get(path)
        return ".".join(path) + (f" (line {line})" if line else "")


def _instruments(universe: Mapping[str, list[str]]) -> list[dict[str, str]]:
    """The universe as the instruments that `ParameterSet` holds."""
    return [
        {"symbol": symbol, "sector": sector, "market": Market.CRYPTO if sector == CRYPTO_SECTOR else Market.US_EQUITY}
        for sector, symbols in universe.items() for symbol in symbols
    ]


def _universe_faults(universe: object, lines: _KeyLines) -> Iterator[str]:
    """What is wrong with the universe before its instruments can be made."""
    if not isinstance(universe, dict) or not universe:
        yield f'{lines.place("universe")} is missing or empty: list symbols by sector, for example energy = ["XOM", "CVX"]'
        return
    seen: dict[str, str] = {}
    for sector, symbols in universe.items():
        place = lines.place("universe", sector)
        if sector not in SECTORS:
            yield f"{place}: unknown sector{_suggestion(sector, SECTORS)}"
        elif not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            yield f'{place}: a sector takes a list of symbols such as ["AAPL", "MSFT"]'
        else:
            yield from _symbol_faults(sector, symbols, seen, place)


def _symbol_faults(sector: str, symbols: list[str], seen: dict[str, str], place: str) -> Iterator[str]:
    """What is wrong with a sector's symbols; `seen` maps the symbols read so far to their sector."""
    wanted, example = (_CRYPTO_SYMBOL, "BTC/USD") if sector == CRYPTO_SECTOR else (_EQUITY_SYMBOL, "AAPL or BRK.B")
    for symbol in symbols:
        if not wanted.fullmatch(symbol):
            yield f"{place}: {symbol!r} is not a symbol of {sector}; write it like {example}"
        if symbol in seen:
            yield f"{place}: {symbol} stands twice, it is already in {seen[symbol]}"
        seen[symbol] = sector


def _strategy_faults(document: Mapping[str, Any], known: Collection[str], lines: _KeyLines) -> Iterator[str]:
    """Strategies that do not exist, or vote twice."""
    named = document.get("strategies", [])
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    for name in sorted(set(names)):
        if name not in known:
            yield f"{lines.place('strategies')}: there is no strategy {name!r}{_suggestion(name, known)}"
        elif names.count(name) > 1:
            yield f"{lines.place('strategies')}: {name} stands twice, a strategy votes once"


def _quoted_faults(document: Mapping[str, Any], lines: _KeyLines) -> Iterator[str]:
    """Numbers in quotes where an exact one belongs: pydantic's strict mode takes them."""
    tables = {name: table for name, table in document.items() if isinstance(table, dict)}
    inside = [((name, key), value) for name, table in tables.items() for key, value in table.items()]
    for path, value in [*(((name,), value) for name, value in document.items()), *inside]:
        _, field = _schema_at(path)
        if isinstance(value, str) and field and field.annotation is Decimal:
            yield f"{lines.place(*path)} is {json.dumps(value)}; it takes {allowed_values(field)}"


def _described(details: ErrorDetails, lines: _KeyLines) -> str:
    """One line for one of pydantic's findings."""
    path = tuple(str(part) for part in details["loc"])
    model, field = _schema_at(path)
    place = lines.place(*path) if path else "the configuration"
    if details["type"] == "extra_forbidden" and model:
        return f"{place}: unknown key{_suggestion(path[-1], _keys(model))}"
    if details["type"] == "value_error":
        return f"{place}: {details['ctx']['error']}"
    wanted = allowed_values(field) if field else "text"
    return f"{place} is {json.dumps(details['input'])}; it takes {wanted}"


def _schema_at(path: tuple[str, ...]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that holds the last part of `path`, and that part's field; None where the schema has nothing there."""
    model: type[BaseModel] | None = ParameterSet
    field: FieldInfo | None = None
    for depth, part in enumerate(path):
        field = model.model_fields.get(part) if model else None
        if depth < len(path) - 1:
            inner = field.annotation if field else None
            model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return model, field


def _keys(model: type[BaseModel]) -> list[str]:
    """The keys an owner may write in a table."""
    return [key for key in model.model_fields if key != "schema_version"]


def _suggestion(word: str, allowed: Collection[str]) -> str:
    """`; did you mean X? Allowed: ...`"""
    close = get_close_matches(word, allowed, n=1)
    return (f"; did you mean {close[0]}?" if close else ";") + f" Allowed: {', '.join(sorted(allowed))}"
