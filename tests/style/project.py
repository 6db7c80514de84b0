"""The project's files, as the style tests see them."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "layers" / "core" / "closebell"


def name(path: Path) -> str:
    """A path as the project knows it."""
    return path.relative_to(ROOT).as_posix()


@cache
def files() -> tuple[Path, ...]:
    """Every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()
    return tuple(sorted({ROOT / line for line in listed if (ROOT / line).is_file()}))


def sources(*folders: str) -> tuple[Path, ...]:
    """Python files below some folders of the project; all of them without arguments."""
    roots = [ROOT / folder for folder in folders or ("functions", "layers", "infra", "tests", "examples")]
    return tuple(path for path in files() if path.suffix == ".py" and any(path.is_relative_to(root) for root in roots))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def commands() -> set[str]:
    """The commands of `closebell`, and the groups of commands."""
    from closebell.cli import app

    single = {entry.name or entry.callback.__name__.replace("_", "-") for entry in app.registered_commands if entry.callback}
    return single | {str(group.name) for group in app.registered_groups}


def place(path: Path, line: int, what: str) -> str:
    """`path:line what`, as failures show it."""
    return f"{name(path)}:{line} {what}"
