"""`closebell`: what the owner says to the desk."""

from closebell.cli import (
    backtest_commands,
    bars_commands,
    bias_commands,
    desk_commands,
    rehearsal_commands,
    sweep_commands,
    validation_commands,
)
from closebell.cli.application import app

__all__ = [
    "app", "backtest_commands", "bars_commands", "bias_commands", "desk_commands", "rehearsal_commands", "sweep_commands",
    "validation_commands",
]
