"""`make bench`: what a backtest costs, beside the libraries that users know, as ratios taken in one run.

    python -m infra.bench [--rounds 3] [--quick]

Every number is the CPU time of a fresh process that does one case on the same seeded bars. The cases take turns, round after
round, so that a busy machine is busy for all of them; what is told is the median. The result is printed and written to
`docs/speed.md`, the numbers behind it to `build/bench.json`.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.instruments import Market
from infra.bench_desk import LOOK_BACK_SESSIONS
from infra.bench_page import page
from infra.bench_process import keep, seeded_bars

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "bench"
PEERS_PYTHON = FOLDER / "venv" / "bin" / "python"
LOCK = ROOT / "requirements" / "bench.txt"
TIMEOUT_S = 1800

W1, W2, W3_ONE, DAY, WIDE_DAY = (1, 2520), (500, 2520), (50, 2520), (500, 0), (8000, 0)
SIZES = ((50, 252), (50, 1260), (50, 2520), (50, 10_000), (500, 252), (500, 2520), (2000, 252), (8000, 252))
WORKERS_COUNTS, POOL_CASE, POOL_RUNS_COUNT = (1, 2, 4), ("sma", (50, 252)), 8
FIRST_DAY, LAST_DAY = date(1980, 1, 1), date(2021, 12, 31)


class Case(NamedTuple):
    """Something that is measured: who does it, what, on how many symbols and sessions, how often within a process."""

    who: str
    name: str
    size: tuple[int, int]
    repeats: int = 1

    @property
    def label(self) -> str:
        return f"{self.who} {self.name} {self.size[0]}x{self.size[1]}"


class Taken(NamedTuple):
    """What a case took: medians over its processes. `first_s` is its first run in a process, `run_s` one after that.

    Without a second run in the process `run_s` is the first.
    """

    import_s: float
    first_s: float
    run_s: float
    whole_s: float
    rss_mib_max: float
    trades_count: float
    equity_usd: float


CASES = (
    *(Case("closebell", name, W1) for name in ("sma", "all")),
    *(Case(peer, "sma", W1, 3) for peer in ("vectorbt", "bt", "backtesting")),
    *(Case("closebell", name, W2) for name in ("sma", "all")),
    Case("closebell", "sma", W3_ONE),
    Case("vectorbt", "sma", W2, 3), Case("bt", "sma", W2), Case("backtesting", "sma", W2),
    *(Case("closebell", name, W2, 5) for name in ("indicators", "talib")),
    *(Case("closebell", "day", size, 5) for size in (DAY, WIDE_DAY)),
)
GRID = tuple(Case("closebell", "all", size) for size in SIZES)


def prepare_peers() -> None:
    """The peers in an environment of their own, from their lock."""
    made = FOLDER / "venv" / "installed"
    if made.exists() and made.stat().st_mtime >= LOCK.stat().st_mtime:
        return
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, FOLDER / "venv"], check=True)
    subprocess.run(  # compiled, as ours is: no peer pays for it in each process
        [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", PEERS_PYTHON, "--require-hashes", LOCK], check=True
    )
    made.touch()


def prepare_bars(sizes: set[tuple[int, int]]) -> None:
    """A file of bars for every size: the sessions that are traded, and those before the first."""
    hours = ExchangeCalendar().sessions(Market.US_EQUITY, FIRST_DAY, LAST_DAY)
    days = np.array([day.session for day in hours], dtype="datetime64[D]")
    for symbols_count, sessions_count in sizes:
        keep(seeded_bars(days[-(LOOK_BACK_SESSIONS + sessions_count) :], symbols_count), _bars((symbols_count, sessions_count)))


def measured(case: Case) -> Mapping[str, Any]:
    """One process of a case. Raises RuntimeError with its last words when it fails."""
    is_ours = case.who == "closebell"
    command = [
        sys.executable if is_ours else str(PEERS_PYTHON), "-m", "infra.bench_desk" if is_ours else "infra.bench_peers",
        case.name if is_ours else case.who, str(_bars(case.size)), str(case.repeats),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{case.label}: {done.stderr.strip().splitlines()[-1]}")
    found: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def in_turns(cases: Sequence[Case], rounds: int) -> dict[str, Taken]:
    """Every case once a round; a case that fails is told and left out."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for turn in range(rounds):
        for case in cases:
            print(f"round {turn + 1} of {rounds}: {case.label}", file=sys.stderr)
            try:
                found.setdefault(case.label, []).append(measured(case))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"left out: {error}", file=sys.stderr)
    return {label: _median(results) for label, results in found.items() if results}


def pool_walls(rounds: int) -> dict[int, float]:
    """The wall seconds of eight equal backtests on some workers, each backtest in a process of its own."""
    name, size = POOL_CASE
    walls: dict[int, list[float]] = {count: [] for count in WORKERS_COUNTS}
    for _ in range(rounds):
        for count, seconds in walls.items():
            began = time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(measured, [Case("closebell", name, size)] * POOL_RUNS_COUNT))
            seconds.append(time.perf_counter() - began)
    return {count: statistics.median(seconds) for count, seconds in walls.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how many processes a case gets")
    parser.add_argument("--quick", action="store_true", help="without the sizes and without backtesting.py on 500 symbols")
    asked = parser.parse_args()
    cases = [case for case in CASES if not asked.quick or case != Case("backtesting", "sma", W2)]
    grid = () if asked.quick else GRID
    FOLDER.mkdir(parents=True, exist_ok=True)
    prepare_peers()
    prepare_bars({case.size for case in (*cases, *grid)} | {POOL_CASE[1]})
    taken = in_turns(cases, asked.rounds) | in_turns([case for case in grid if case not in cases], 1)
    walls = pool_walls(asked.rounds)
    kept = {label: one._asdict() for label, one in taken.items()}
    (ROOT / "build" / "bench.json").write_text(json.dumps({"taken": kept, "pool_wall_s": walls}, indent=1), encoding="utf-8")
    text = page(kept, walls, f"Python {platform.python_version()}, {platform.machine()}", asked.rounds)
    (ROOT / "docs" / "speed.md").write_text(text, encoding="utf-8")
    print(text)


def _bars(size: tuple[int, int]) -> Path:
    return FOLDER / f"bars_{size[0]}x{size[1]}.npz"


def _median(results: Sequence[Mapping[str, Any]]) -> Taken:
    runs = [result["runs_s"] for result in results]
    later = [statistics.median(seconds[1:] or seconds) for seconds in runs]

    middle = {name: statistics.median(float(result[name]) for result in results) for name in set(Taken._fields) & set(results[0])}
    return Taken(first_s=statistics.median(seconds[0] for seconds in runs), run_s=statistics.median(later), **middle)


if __name__ == "__main__":
    main()
