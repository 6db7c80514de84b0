"""The owner's slips of the pen: a configuration with something wrong in a limit, which nothing may accept."""

from typing import NamedTuple

from closebell.app.control import store_parameters
from closebell.configuration import read_parameters
from closebell.model.errors import ConfigurationError
from closebell.rehearsal.market import INDEX, SECTOR_OF
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.strategies import STRATEGIES

_SLIPS: tuple[tuple[str, str], ...] = (
    ("position_weight_frac_max", "20"),  # percent for a fraction
    ("daily_loss_frac_max", "-0.05"),
    ("gross_exposure_frac_max", '"100%"'),
    ("positions_count_max", "0"),
    ("positions_count_max", "5.5"),
    ("price_collar_frac", "nan"),
    ("sector_exposure_frac_maxi", "0.6"),
    ("risk_per_trade_frac_mx", "0.02"),
)
"""A setting of the limits as it was written, and its value."""


class Slip(NamedTuple):
    """What the owner wrote, and what the desk answered ("": it was stored)."""

    setting: str
    answer: str


class OwnersSlips:
    """`write` is the owner at the keyboard."""

    def __init__(self, stage: Stage, raw: WatchedJournal) -> None:
        self._stage, self._raw = stage, raw
        self.slips: list[Slip] = []

    def write(self) -> None:
        """Try to store limits with one slip in them, as `closebell configure` does."""
        setting, value = self._stage.generator.choice(_SLIPS)
        sectors = sorted(set(SECTOR_OF.values()))
        universe = [f"{sector} = {[symbol for symbol, own in SECTOR_OF.items() if own == sector]}" for sector in sectors]
        text = "\n".join([f'regime_symbol = "{INDEX}"', "[limits]", f"{setting} = {value}", "[universe]", *universe])
        answer = ""
        try:
            store_parameters(self._raw, read_parameters(text, STRATEGIES.keys()))
        except ConfigurationError as refusal:
            answer = str(refusal)
        self._stage.note(f"the owner writes {setting} = {value}: {answer or 'stored'}")
        self.slips.append(Slip(setting, answer))
