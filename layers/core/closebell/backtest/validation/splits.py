"""How past sessions are divided: train, validation and holdout; and the folds of a walk forward."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from closebell.model.errors import ConfigurationError

TRAIN_FRAC, VALIDATION_FRAC = 0.6, 0.2
DEVELOPMENT_SESSIONS_COUNT_MIN = 80
FOLDS_COUNT = 5
_FIRST_IN_SAMPLE_BLOCKS = 2


class SessionSpan(NamedTuple):
    """Sessions from the first to the last, both included."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class DataSplit(NamedTuple):
    """Three spans without a gap or an overlap: what is searched on, what the choice is checked on, what is looked at once."""

    train: SessionSpan
    validation: SessionSpan
    holdout: SessionSpan

    @property
    def development(self) -> SessionSpan:
        """Train and validation: all that may be looked at more than once."""
        return SessionSpan(self.train.first, self.validation.last)


class FoldRows(NamedTuple):
    """One fold, as rows of a table of sessions: chosen on `in_sample`, judged on `out_of_sample`."""

    in_sample: slice
    out_of_sample: slice


def split_sessions(days: Sequence[date], holdout: SessionSpan | None = None) -> DataSplit:
    """60 % of the sessions to train, 20 % to validate, the rest held out; or, before a given holdout, in the same proportion.

    Raises ConfigurationError when there are too few, or when they end before the holdout does.
    """
    before = list(days[: round(len(days) * (TRAIN_FRAC + VALIDATION_FRAC))])
    if holdout is not None:
        before = [day for day in days if day < holdout.first]
    if len(before) < DEVELOPMENT_SESSIONS_COUNT_MIN:
        raise ConfigurationError(
            f"{len(before)} sessions are left to train and validate on, {DEVELOPMENT_SESSIONS_COUNT_MIN} are needed: "
            "bring more history"
        )
    if holdout is not None and days[-1] < holdout.last:
        raise ConfigurationError(f"{holdout} is held out, but the sessions end on {days[-1]}: bring the same bars and --to")
    train_end = round(len(before) * TRAIN_FRAC / (TRAIN_FRAC + VALIDATION_FRAC))
    return DataSplit(
        SessionSpan(days[0], before[train_end - 1]),
        SessionSpan(before[train_end], before[-1]),
        holdout or SessionSpan(days[len(before)], days[-1]),
    )


def anchored_folds(sessions_count: int, folds_count: int = FOLDS_COUNT) -> list[FoldRows]:
    """Folds that look back to the beginning each time."""
    return [FoldRows(slice(0, fold.in_sample.stop), fold.out_of_sample) for fold in rolling_folds(sessions_count, folds_count)]


def rolling_folds(sessions_count: int, folds_count: int = FOLDS_COUNT) -> list[FoldRows]:
    """Folds that look back equally far each time. What is judged follows what it was chosen on and overlaps nothing."""
    blocks = folds_count + _FIRST_IN_SAMPLE_BLOCKS
    edges = [round(sessions_count * block / blocks) for block in range(blocks + 1)]
    return [
        FoldRows(slice(edges[fold], edges[fold + _FIRST_IN_SAMPLE_BLOCKS]),
                 slice(edges[fold + _FIRST_IN_SAMPLE_BLOCKS], edges[fold + _FIRST_IN_SAMPLE_BLOCKS + 1]))
        for fold in range(folds_count)
    ]  # fmt: skip
