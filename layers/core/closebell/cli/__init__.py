"""`closebell`: what the owner says to the desk."""

from closebell.cli import desk_commands, rehearsal_commands
from closebell.cli.application import app

__all__ = ["app", "desk_commands", "rehearsal_commands"]
