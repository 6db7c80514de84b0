"""Ctrl-C on the checks and the rehearsal: one line, a status of its own, and no process that complains."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from closebell.cli import app, bias_commands
from closebell.cli.application import INTERRUPTED
from closebell.rehearsal import command

COMMAND = Path(sys.executable).with_name("closebell")
SAID = "closebell: interrupted; nothing was kept\n"


def interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """What is started hears interrupts, also where the tests run in the background of a shell, which has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["lookahead", "warmup", "simulate"])
def test_an_interrupt_is_said_in_a_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bias_commands, "all_panels", interrupted)
    monkeypatch.setattr(command, "rehearse", interrupted)
    done = CliRunner().invoke(app, [name])
    assert (done.exit_code, done.output) == (INTERRUPTED, SAID)


@pytest.mark.usefixtures("heeds_interrupts")
def test_a_terminals_interrupt_of_a_rehearsal_ends_its_processes_without_a_word_of_theirs() -> None:
    words = ("simulate", "--seeds", "0:1000000", "--sessions", "1", "--faults", "none", "--workers", "2")
    with subprocess.Popen(
        [f"{COMMAND}", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("50 seeds"), "it is under way"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: every process of the command hears it
        _, said = running.communicate(timeout=90)
    assert (running.returncode, said) == (INTERRUPTED, SAID)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize(("begins", "status", "said"), [("", -signal.SIGINT, ""), ("trap '' INT; ", 0, "SIG_IGN\n")])
def test_an_interrupt_while_a_command_is_loaded_ends_it_without_a_word_unless_interrupts_are_ignored(
    begins: str, status: int, said: str
) -> None:
    """The commands are a stand-in whose loading is interrupted, and which says how interrupts are heard afterwards."""
    loaded = """if True:
        import os, signal, sys
        from importlib.abc import Loader, MetaPathFinder
        from importlib.machinery import ModuleSpec
        from closebell.__main__ import main

        class Commands(MetaPathFinder, Loader):
            def find_spec(self, name, path, target=None):
                return ModuleSpec(name, self) if name == "closebell.cli" else None

            def exec_module(self, module):
                os.kill(os.getpid(), signal.SIGINT)
                module.app = lambda: print(signal.getsignal(signal.SIGINT).name)

        sys.meta_path.insert(0, Commands())
        main()
    """
    shell = ["sh", "-c", f'{begins}exec "$0" -c "$1"', sys.executable, loaded]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, said, "")


def test_a_process_that_nobody_waits_for_plays_no_further_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = get_context("spawn").Event()
    monkeypatch.setattr(command, "_given_ups", [given_up])
    given_up.set()
    assert command._play_batch(range(3), 1, frozenset()).seeds_count == 0
