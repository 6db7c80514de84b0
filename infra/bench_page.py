"""The page that `make bench` writes: numbers, ratios, and each goal with what was reached."""

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Numbers = Mapping[str, float]
"""What a case took, by the names of `infra.bench.Taken`."""

HEAD = """# Speed

Written by `make bench`: the median of {rounds} fresh process(es) a case ({machine}), CPU seconds. Every case has the same seeded
bars, and cases take turns. From day to day ratios to other Python hold; seconds, and ratios to compiled code, do not.
*First* is the first run in a process, compilation included;
*again* is a later run in the same process, or the first where there is no other; *whole* is everything from the interpreter's
start to the first result, imports and reading the bars included; everybody's bytecode is made before.

The rule: the moving averages of 20 and 50 sessions, long while the fast one is above, filled at the next open, 0.05 % slippage.

- **closebell, sma**: `closebell backtest` with that one strategy, at most 20 positions of 5 %. It is the deployed desk: orders
  with ids, stops at the exchange, a reconciliation after everything that can have changed something, books, every risk check, a
  record of each outcome. Its trades are not the peers' trades: what fits the limits is bought, the best first, and a stop rests.
- **closebell, all**: five strategies, the vote, the regime and all limits, as configured by default.
- **vectorbt**: `Portfolio.from_signals`, one account, 5 000 USD a position. **bt**: equal weights of 20, at the close; its trades
  are transactions. **backtesting.py**: one run and one account a symbol; it knows no portfolio.

"""


class Goal(NamedTuple):
    """A goal of ours: the number that was reached and its limit; smaller is better."""

    words: str
    reached: float | None
    limit: float
    unit: str


def page(taken: Mapping[str, Numbers], pool_walls_s: Mapping[int, float], machine: str, rounds: int) -> str:
    """The whole page as Markdown."""
    parts = [
        HEAD.format(rounds=rounds, machine=machine),
        "## One symbol, 2 520 sessions\n\n", _peers(taken, "1x2520"),
        "\n## 500 symbols, 2 520 sessions, one portfolio\n\n", _peers(taken, "500x2520"),
        "\n## Symbols and sessions\n\n", _sizes(taken),
        "\n## Workers\n\n", _workers(pool_walls_s),
        "\n## Goals\n\n", _goals(goals_of(taken)),
    ]
    return "".join(parts)


def goals_of(taken: Mapping[str, Numbers]) -> tuple[Goal, ...]:
    """The goals, each with what was reached; None when a side of it was not measured."""

    def ratio(ours: str, theirs: str, name: str = "run_s") -> float | None:
        return taken[ours][name] / taken[theirs][name] if ours in taken and theirs in taken else None

    def seconds(label: str) -> float | None:
        return taken[label]["run_s"] if label in taken else None

    sma, everything, vectorbt = (f"{case} 500x2520" for case in ("closebell sma", "closebell all", "vectorbt sma"))
    one_pair_s = seconds("closebell sma 50x2520")
    peak = max((taken[label]["rss_mib_max"] for label in (sma, everything) if label in taken), default=None)
    return (
        Goal("500 symbols, one strategy, in process, against vectorbt's `from_signals`", ratio(sma, vectorbt), 1, "x"),
        Goal("the whole process against vectorbt's", ratio(sma, vectorbt, "whole_s"), 0.125, "x"),
        Goal("the full decision path over 500 symbols, 2 520 sessions", seconds(everything), 1, "s"),
        Goal(
            "a sweep of 100 pairs over 50 symbols, 2 520 sessions, on two cores (one pair's seconds, fifty times)",
            one_pair_s and one_pair_s * 50, 10, "s",
        ),
        Goal(
            "nine indicators over the panel, against a loop of TA-Lib",
            ratio("closebell indicators 500x2520", "closebell talib 500x2520"), 1.3, "x",
        ),
        Goal("an evening's decision for 500 symbols", seconds("closebell day 500x0"), 0.05, "s"),
        Goal("an evening's decision for 8 000 symbols", seconds("closebell day 8000x0"), 1, "s"),
        Goal("peak memory of a backtest of 500 symbols", peak, 1024, "MiB"),
    )


def _peers(taken: Mapping[str, Numbers], size: str) -> str:
    ours = taken.get(f"closebell sma {size}")
    header = ("", "first s", "again s", "of closebell sma", "whole s", "of closebell sma", "peak MiB", "trades")
    rows = []
    for label, one in taken.items():
        who, name, of_size = label.split()
        if of_size == size and name in {"sma", "all"}:
            compared = [one[key] / ours[key] if ours else float("nan") for key in ("run_s", "whole_s")]
            shown = f"{who} {name}" if who == "closebell" else who
            again = (_short(one["run_s"]), f"{compared[0]:.3f}", _short(one["whole_s"]), f"{compared[1]:.3f}")
            rows.append((shown, _short(one["first_s"]), *again, f"{one['rss_mib_max']:.0f}", f"{one['trades_count']:.0f}"))
    return _table(header, rows)


def _sizes(taken: Mapping[str, Numbers]) -> str:
    """CPU milliseconds a session: equal along a row where cost is linear in sessions."""
    found: dict[int, dict[int, Numbers]] = {}
    for label, one in taken.items():
        symbols, sessions = (int(part) for part in label.split()[-1].split("x"))
        if label.startswith("closebell all") and symbols > 1:
            found.setdefault(symbols, {})[sessions] = one
    columns = sorted({sessions for row in found.values() for sessions in row})

    def cell(one: Numbers | None, sessions: int) -> str:
        if one is None:
            return ""
        return f"{one['run_s']:.1f} s, {one['run_s'] / sessions * 1000:.1f} ms, {one['rss_mib_max']:.0f} MiB"

    rows = [(str(symbols), *(cell(row.get(count), count) for count in columns)) for symbols, row in sorted(found.items())]
    words = "closebell, all, one process a cell: CPU seconds of the run, milliseconds a session, the process's peak memory.\n\n"
    return words + _table(("symbols", *(f"{sessions} sessions" for sessions in columns)), rows)


def _workers(walls_s: Mapping[int, float]) -> str:
    alone = walls_s.get(1)
    rows = [(str(count), f"{wall:.1f}", f"{alone / wall:.2f}" if alone else "") for count, wall in sorted(walls_s.items())]
    what = f"Equal backtests of 50 symbols and 252 sessions, each in a process of its own, on {os.cpu_count()} cores"
    return f"{what}: wall seconds.\n\n" + _table(("workers", "wall s", "times as fast"), rows)


def _goals(goals: Iterable[Goal]) -> str:
    rows = []
    for goal in goals:
        verdict = "not measured" if goal.reached is None else "reached" if goal.reached <= goal.limit else "**missed**"
        shown = "" if goal.reached is None else f"{_short(goal.reached)} {goal.unit}"
        rows.append((goal.words, shown, f"{goal.limit:g} {goal.unit}", verdict))
    return _table(("", "measured", "at most", ""), rows)


def _short(number: float) -> str:
    return f"{number:.3f}" if number < 10 else f"{number:.1f}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
