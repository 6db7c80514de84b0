"""mutmut on the code that risks money: `python -m infra.mutation_score [PART ...]` prints each file's score and the survivors.

mutmut wants the mutated package beside its tests: both are copied to `build/mutation`, so that the work tree is never touched
and no other copy of closebell can be imported. What is mutated stands in `[tool.mutmut]` of `pyproject.toml`; a part's mutants
have to be noticed by the fast unit tests of that part alone.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "mutation"
SCORE_FRAC_MIN = 0.90
NOTICED = frozenset({"killed", "timeout", "segfault"})
SLOW_TESTS = ("test_killed_anywhere.py", "test_limits_hold.py", "test_real_autumn.py")
_RESULT = re.compile(r"\s*(?P<name>closebell\.(?P<part>\w+)\.(?P<file>\w+)\.\S+__mutmut_\d+): (?P<status>.+)")


class Mutant(NamedTuple):
    """One change that mutmut made: its name, the part and file it is in, and what the tests made of it."""

    name: str
    part: str
    file: str
    status: str

    @property
    def is_noticed(self) -> bool:
        """Whether a test failed, hung or crashed because of it."""
        return self.status in NOTICED


def stage(part: str) -> Path:
    """Copy the package, the part's unit tests and the settings to where mutmut works; the folder."""
    work = WORK / part
    shutil.rmtree(work, ignore_errors=True)
    unwanted = shutil.ignore_patterns("__pycache__", *SLOW_TESTS)
    shutil.copytree(ROOT / "layers" / "core" / "closebell", work / "closebell", ignore=unwanted)
    shutil.copytree(ROOT / "tests" / "unit" / part, work / "tests" / "unit" / part, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", work)
    return work


def mutmut(work: Path, *arguments: str) -> str:
    """Run mutmut in a folder; what it printed. Raises CalledProcessError."""
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    return subprocess.run(command, cwd=work, check=True, text=True, stdout=subprocess.PIPE).stdout


def tried(part: str) -> Iterator[Mutant]:
    """Run a part; every mutant with what became of it, a survivor's diff printed on the way."""
    work = stage(part)
    mutmut(work, "run", f"closebell.{part}.*")
    for line in mutmut(work, "results", "--all", "true").splitlines():
        found = _RESULT.fullmatch(line)
        if found and found["part"] == part:
            mutant = Mutant(**found.groupdict())
            if not mutant.is_noticed:
                sys.stdout.write(mutmut(work, "show", mutant.name))
            yield mutant


def scores(mutants: Sequence[Mutant]) -> Iterator[str]:
    """How many were noticed, by file and in all."""
    counts: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for mutant in mutants:
        counts[f"{mutant.part}/{mutant.file}.py"][mutant.is_noticed] += 1
        counts["all"][mutant.is_noticed] += 1
    for file, count in sorted(counts.items(), key=lambda item: (item[0] == "all", item[0])):
        yield f"{file:<30} {count[True]:>5} of {count.total():>5} noticed, {count[True] / count.total():.1%}"


def main(parts: Sequence[str]) -> int:
    """Run the parts; 1 when fewer mutants are noticed than should be."""
    mutants = [mutant for part in parts for mutant in tried(part)]
    for line in scores(mutants):
        sys.stdout.write(f"{line}\n")
    noticed = sum(mutant.is_noticed for mutant in mutants)
    return int(not mutants or noticed < SCORE_FRAC_MIN * len(mutants))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ("decision", "books", "app")))
