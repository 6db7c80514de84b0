"""The tests are tested: `python -m infra.mutants [NAME ...]` plants each bug of `tests/mutants` and lets the rehearsal find it.

A bug is a patch against the repository. Its header says what is wrong, under which faults it shows, and which invariants give
it away. It is applied to a copy of the core, whose rehearsal is played seed after seed until one of those invariants breaks; the
same seed of the code as it is must keep it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CORE = Path("layers") / "core"
PATCHES = ROOT / "tests" / "mutants"
SEEDS_COUNT = 60
SESSIONS_COUNT = 8


class PlantedBug(NamedTuple):
    """A patch: the words in its header, the faults to draw, the invariants of which one must break, where the search begins."""

    path: Path
    words: str
    faults: frozenset[str]
    invariants: frozenset[int]
    first_seed: int

    @property
    def name(self) -> str:
        return self.path.stem


class BugVerdict(NamedTuple):
    """What became of a planted bug: the seed and the invariant that gave it away, or why nothing did."""

    bug: PlantedBug
    seed: int | None
    invariant: int | None
    why_not: str
    elapsed_s: float

    @property
    def is_caught(self) -> bool:
        return self.seed is not None


def read_bug(path: Path) -> PlantedBug:
    """A patch's header. Raises ValueError when it is not whole."""
    words, _, rest = path.read_text().partition("\n\n")
    facts = dict(line.split(":", 1) for line in rest.partition("\n\n")[0].splitlines())
    try:
        faults, invariants = facts["faults"].split(), facts["invariants"].split()
        return PlantedBug(path, words, frozenset(faults), frozenset(map(int, invariants)), int(facts.get("first seed", "0")))
    except KeyError as missing:
        raise ValueError(f"{path.name}: its header does not say {missing}") from missing


def planted_bugs(names: Sequence[str] = ()) -> list[PlantedBug]:
    """Every planted bug, or those whose names contain one of `names`."""
    paths = sorted(PATCHES.glob("*.patch"))
    return [read_bug(path) for path in paths if not names or any(name in path.stem for name in names)]


def plant(bug: PlantedBug, folder: Path) -> str:
    """Copy the core into a folder and apply the patch; "" or why it does not apply."""
    shutil.copytree(ROOT / CORE, folder / CORE, ignore=shutil.ignore_patterns("__pycache__"))
    apart = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(["git", "apply", str(bug.path)], cwd=folder, env=apart, capture_output=True, text=True)  # noqa: S607 - git, as the path has it
    return done.stderr.strip()


def judge(bug: PlantedBug) -> BugVerdict:
    """Plant one bug and rehearse, in a process that sees no other copy of closebell."""
    began = time.monotonic()
    with TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        if why_not := plant(bug, folder):
            return BugVerdict(bug, None, None, f"does not apply: {why_not}", time.monotonic() - began)
        path = os.pathsep.join((str(folder / CORE), str(ROOT)))
        play = [sys.executable, "-m", "infra.mutants", "--play", str(folder), str(bug.path)]
        played = subprocess.run(play, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if played.returncode:
        return BugVerdict(bug, None, None, played.stderr.strip().rpartition("\n")[2], time.monotonic() - began)
    seed, invariant = played.stdout.split()
    return BugVerdict(bug, int(seed), int(invariant), "", time.monotonic() - began)


def given_away(bug: PlantedBug, seeds: range) -> tuple[int, int] | None:
    """The first seed that breaks one of its invariants, and which; None when all keep them."""
    from closebell.rehearsal.desk_days import DeskDays, Rehearsal  # whichever copy this process was started with

    for seed in seeds:
        days = DeskDays(Rehearsal(seed, SESSIONS_COUNT, bug.faults))
        broken = bug.invariants & {violation.invariant for violation in days.play()}
        if broken:
            return seed, min(broken)
    return None


def play(folder: Path, bug: PlantedBug) -> int:
    """Inside the process with the planted bug: print what gave it away."""
    import closebell

    if not Path(closebell.__path__[0]).is_relative_to(folder.resolve()):
        sys.stderr.write(f"the wrong copy is played: {closebell.__path__[0]}")
        return 1
    found = given_away(bug, range(bug.first_seed, bug.first_seed + SEEDS_COUNT))
    if found is None:
        sys.stderr.write(f"NOT CAUGHT in {SEEDS_COUNT} seeds")
        return 1
    sys.stdout.write(f"{found[0]} {found[1]}")
    return 0


def verdicts(chosen: Sequence[PlantedBug]) -> Iterator[BugVerdict]:
    """Every bug judged, one on each core, in their order. One whose seed breaks without the bug as well is not caught."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for verdict in pool.map(judge, chosen):
            innocent = verdict.seed is None or given_away(verdict.bug, range(verdict.seed, verdict.seed + 1)) is None
            yield verdict if innocent else verdict._replace(seed=None, why_not=f"seed {verdict.seed} breaks without it too")


def main(names: Sequence[str]) -> int:
    """Judge and print a table; 1 when one bug is not caught or a patch does not apply."""
    chosen = planted_bugs(names)
    missed = 0
    for verdict in verdicts(chosen):
        caught = f"invariant {verdict.invariant} at seed {verdict.seed}" if verdict.is_caught else verdict.why_not
        sys.stdout.write(f"{verdict.bug.name:<52} {caught:<32} {verdict.elapsed_s:5.1f} s\n")
        sys.stdout.flush()
        missed += not verdict.is_caught
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} planted bugs caught\n")
    return int(missed > 0 or not chosen)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--play"]:
        sys.exit(play(Path(sys.argv[2]), read_bug(Path(sys.argv[3]))))
    sys.exit(main(sys.argv[1:]))
