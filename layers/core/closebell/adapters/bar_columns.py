"""What a file calls its columns: which are taken, which are to be renamed, and which close is not the one that is used."""

import re
from collections.abc import Collection
from pathlib import Path

from closebell.model.panel import FIELDS

HEADER_CHARS_MAX = 1000

_NO_LETTERS = re.compile(r"[^a-z]+")
_ADJUSTED = ("adjclose", "adjustedclose")
_OTHER_NAMES = {
    "date": ("datetime", "time", "day", "tradedate"), "close": ("closelast", "last", "closeprice", *_ADJUSTED),
    "volume": ("vol",),
}  # fmt: skip


def columns_of(path: Path) -> set[str]:
    """The names in a file's header, in lower case. Raises OSError, and ValueError when a Parquet file is none."""
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet  # it is imported only where files are read that need it

        return {name.strip().lower() for name in parquet.read_schema(path).names}
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(HEADER_CHARS_MAX)
    return {name.strip().strip('"').lower() for name in header.split(",")}


def has_adjusted_close(columns: Collection[str]) -> bool:
    """Whether there is an adjusted close beside the close."""
    return "close" in columns and any(_letters(name) in _ADJUSTED for name in columns)


def renames_hint(columns: Collection[str]) -> str:
    """Which of a file's columns are to be renamed so that they are found, or "" when none looks as if it were one of them."""
    renames = []
    for wanted in ("date", *FIELDS):
        known_as = (wanted, *_OTHER_NAMES.get(wanted, ()))
        found = None if wanted in columns else next((name for name in columns if _letters(name) in known_as), None)
        if found is not None:
            renames.append(f"{found} to {wanted}")
    return f"; rename {', '.join(renames)}" if renames else ""


def _letters(name: str) -> str:
    return _NO_LETTERS.sub("", name)
