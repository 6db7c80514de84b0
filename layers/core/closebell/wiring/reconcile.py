"""Builds `reconcile`."""

from closebell.app.reconcile import Reconcile
from closebell.wiring.brokerage import trading_room


def build_reconcile() -> Reconcile:
    """The use case over Alpaca and AWS, as the environment names them. Raises ConfigurationError."""
    return Reconcile(trading_room("reconcile"))
