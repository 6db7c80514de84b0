"""`closebell simulate`."""

from typing import Annotated

import typer

from closebell.adapters.system_clock import SystemClock
from closebell.cli.application import app, end_interrupted, fail
from closebell.model.errors import ClosebellError, ConfigurationError


@app.command()
def simulate(
    seeds: Annotated[str, typer.Option(metavar="FIRST:END", help="The first seed, and the one after the last.")] = "0:20",
    sessions: Annotated[int, typer.Option(min=1, metavar="COUNT", help="Sessions a seed.")] = 10,
    faults: Annotated[str, typer.Option(metavar="NAMES", help="all, none, or names with commas between.")] = "all",
    seed: Annotated[int | None, typer.Option(min=0, metavar="NUMBER", help="One seed instead of many.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: show everything that happened.")] = False,
    workers: Annotated[int, typer.Option(min=1, metavar="COUNT", help="Processes to play in.")] = 1,
) -> None:
    """Rehearse the desk on seeded markets with faults at every port, and check its invariants after every step."""
    try:
        if trace and seed is None:
            raise ConfigurationError("--trace shows what happened in one seed: name it with --seed")
        from closebell.rehearsal.command import rehearse, seeds_of, trail  # the other commands need not load the use cases

        chosen = seeds_of(seeds) if seed is None else range(seed, seed + 1)
        violations = rehearse(chosen, sessions, faults, typer.echo, SystemClock().now, workers)
        for line in trail(chosen.start, sessions, faults) if trace and seed is not None else ():
            typer.echo(line)
    except ClosebellError as error:
        fail(error)
    except KeyboardInterrupt as error:
        end_interrupted("nothing was kept", error)
    if violations:
        raise typer.Exit(1)
