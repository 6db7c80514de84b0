"""What the README shows is true."""

import re

import numpy as np
import pytest

from closebell.model.instruments import Market
from closebell.model.panel import BarPanel
from closebell.model.schedule import SCHEDULES, ScheduledRun
from tests.style.project import ROOT, commands
from tests.style.test_documents import rows

README = (ROOT / "README.md").read_text(encoding="utf-8")


def makefiles() -> str:
    return "\n".join((ROOT / path).read_text(encoding="utf-8") for path in ("Makefile", "infra/build.mk"))


def block(language: str) -> str:
    """The first fenced block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, language
    return found[1]


def in_words(run: ScheduledRun) -> str:
    """A cron expression as the README's table writes it."""
    minute, hour, *_ = run.cron.split()
    if not minute.startswith("0/"):
        return f"{int(hour):02d}:{int(minute):02d}"
    step = int(minute.removeprefix("0/"))
    if hour == "*":
        return f"every {step} min"
    first, last = hour.split("-")
    return f"every {step} min, {int(first):02d}:00 to {int(last):02d}:{60 - step}"


def runs_a_day(run: ScheduledRun) -> int:
    """How often a schedule fires on a day that it fires on."""
    minute, hour, *_ = run.cron.split()
    hours = range(*(int(end) + shift for shift, end in enumerate(hour.split("-")))) if "-" in hour else range(1)
    return len(hours) * (60 // int(minute.removeprefix("0/")) if minute.startswith("0/") else 1)


def test_the_day_is_the_schedule() -> None:
    shown = {(function, market): times for function, equity, crypto, _ in rows(README, "function")
             for market, times in ((Market.US_EQUITY, equity), (Market.CRYPTO, crypto))}
    assert shown == {(run.function, run.market): in_words(run) for run in SCHEDULES}


def test_the_runs_of_a_day_are_counted() -> None:
    count = sum(runs_a_day(run) for run in SCHEDULES if run.market is Market.US_EQUITY)
    assert f"A day is {count} short runs for equities" in " ".join(README.split())


def test_every_make_target_exists() -> None:
    shown = set(re.findall(r"\bmake ([a-z]+)", README))
    assert shown
    assert not {target for target in shown if not re.search(rf"^{target}:", makefiles(), re.MULTILINE)}


def test_every_make_variable_is_read() -> None:
    assert not {variable for variable in re.findall(r"make demo ([A-Z]+)=", README) if f"$({variable})" not in makefiles()}


def test_every_command_exists() -> None:
    assert set(re.findall(r"`closebell ([a-z][\w-]*)", README)) <= commands()


@pytest.fixture
def strategy() -> dict[str, object]:
    """The README's strategy, as a module's names."""
    names: dict[str, object] = {}
    exec(compile(block("python"), "README.md", "exec"), names)  # noqa: S102 - the README's own code is what is tested
    return names


def panel_of(close: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> BarPanel:
    sessions = np.datetime64("2018-01-01") + np.arange(len(close))
    return BarPanel(sessions, ("UP", "DOWN"), close, close, close, close, np.full_like(close, np.nan))


def test_the_strategy_scores_what_its_docstring_says(strategy: dict[str, object]) -> None:
    scores = strategy["scores"]
    assert callable(scores)
    close = np.column_stack([np.linspace(100.0, 105.0, 21), np.linspace(100.0, 80.0, 21)])
    result = scores(panel_of(close))
    assert np.isnan(result[:20]).all()
    np.testing.assert_allclose(result[20], [0.5, -1.0])


def test_the_strategy_does_not_look_ahead(strategy: dict[str, object]) -> None:
    scores = strategy["scores"]
    assert callable(scores)
    close = np.random.default_rng(7).uniform(50.0, 150.0, (60, 2))
    whole = scores(panel_of(close))
    for rows_count in (1, 20, 21, 40, 59):
        np.testing.assert_array_equal(scores(panel_of(close[:rows_count])), whole[:rows_count])


def test_the_strategy_fits_in_twelve_lines() -> None:
    assert len([line for line in block("python").splitlines() if line.strip()]) <= 12
