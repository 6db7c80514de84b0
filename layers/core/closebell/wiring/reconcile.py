"""Builds `reconcile`."""

from closebell.app.reconcile import Reconcile
from closebell.wiring.brokerage import broker
from closebell.wiring.desk import journal, notifier, run_log, settings


def build_reconcile() -> Reconcile:
    """The use case over Alpaca and AWS, as the environment names them. Raises ConfigurationError."""
    return Reconcile(run_log("reconcile"), journal(), broker(), notifier(), settings().closebell_environment)
