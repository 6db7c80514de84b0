"""The newsletter's text part: the same manuscript, set for a terminal of 78 columns."""

import textwrap
from collections.abc import Sequence

from closebell.reports.account_lines import HeadlineLine
from closebell.reports.newsletter_view import NewsletterView
from closebell.reports.sections import SymbolLine

COLUMNS = 78
_INDENT = " " * 10


def text_of(view: NewsletterView) -> str:
    """Set the manuscript. Lines are at most 78 characters, except one that holds a link."""
    banner = "!" * COLUMNS
    blocks = [
        _masthead(view),
        [banner, *_wrapped(view.halt), banner] if view.halt else [],
        [*_wrapped(f"{view.regime}."), *_wrapped(view.summary)],
        _table([(figure.label, figure.value, figure.note) for figure in view.figures], "lrl"),
        _chapter("Breaks", _symbols("Our books and the broker's differ.", view.breaks)) if view.breaks else [],
        *(_chapter(part.title, [*_symbols(part.lead, part.lines), *_wrapped(part.also_line)]) for part in view.sections),
        _chapter("The book", _book(view)),
        _chapter("Strategies so far", _strategies(view)) if view.strategies else [],
        _chapter("Closed lately", _trades(view)) if view.trades else [],
        _chapter("Headlines", _headlines(view.headlines)) if view.headlines else [],
        ["-" * COLUMNS, *(line for note in view.footer for line in _wrapped(note))],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _masthead(view: NewsletterView) -> list[str]:
    right = f"{view.market} · {view.environment}"
    return [f"CLOSEBELL{right:>{COLUMNS - 9}}", *_wrapped(view.dateline), "=" * COLUMNS]


def _chapter(title: str, lines: list[str]) -> list[str]:
    return [f"{title.upper()} {'-' * (COLUMNS - len(title) - 1)}", *lines]


def _symbols(lead: str, lines: Sequence[SymbolLine]) -> list[str]:
    set_lines = _wrapped(lead)
    for line in lines:
        set_lines += _wrapped(f"{line.symbol:<{len(_INDENT) - 1}} {line.amount}".rstrip(), hang=_INDENT)
        set_lines += [*_wrapped(line.terms, _INDENT), *_wrapped(line.why, _INDENT)]
    return set_lines


def _book(view: NewsletterView) -> list[str]:
    lines: list[str] = []
    if view.book:
        head = ("Symbol", "Quantity", "Entry", "Last", "P&L", "")
        rows = [(held.symbol, held.quantity, held.entry, held.last, held.pnl, held.pnl_frac) for held in view.book]
        lines = [*_table([head, *rows], "lrrrrr"), ""]
    for held in view.book:
        terms = "; ".join(filter(None, (held.held, held.exits, held.note)))
        lines += _wrapped(f"{held.symbol:<{len(_INDENT) - 1}} {terms}", hang=_INDENT)
    return [*lines, *(line for note in (view.book_note, view.exposure_caption, view.equity_caption) for line in _wrapped(note))]


def _strategies(view: NewsletterView) -> list[str]:
    rows = [(line.strategy, line.trades, line.won, line.earned) for line in view.strategies]
    return _table([("Strategy", "Trades", "Won", "Earned"), *rows], "lrrr")


def _trades(view: NewsletterView) -> list[str]:
    return _table([(line.symbol, line.path, line.rule, line.outcome) for line in view.trades], "lllr")


def _headlines(items: Sequence[HeadlineLine]) -> list[str]:
    lines = ["From outside, unchecked."]
    for item in items:
        source = f" ({item.source})" if item.source else ""
        lines += _wrapped(f"- {item.headline}{source}", hang="  ")
        lines += [f"  {item.link}"] if item.link else []
    return lines


def _wrapped(text: str, indent: str = "", hang: str | None = None) -> list[str]:
    """Lines of at most 78 columns, all after `indent`, or the later ones after `hang`."""
    later = indent if hang is None else hang
    return textwrap.wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=later, break_on_hyphens=False)


def _table(rows: Sequence[Sequence[str]], alignments: str) -> list[str]:
    """Columns two blanks apart, `l` or `r` aligned; a row too wide for the page is wrapped."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = {"l": str.ljust, "r": str.rjust}
    lines = []
    for row in rows:
        cells = (align[how](cell, width) for cell, width, how in zip(row, widths, alignments, strict=True))
        lines += _wrapped("  ".join(cells).rstrip(), hang="    ")
    return lines
