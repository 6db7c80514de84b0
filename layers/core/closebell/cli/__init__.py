"""`closebell`: what the owner says to the desk."""

from closebell.cli import backtest_commands, desk_commands, rehearsal_commands
from closebell.cli.application import app

__all__ = ["app", "backtest_commands", "desk_commands", "rehearsal_commands"]
