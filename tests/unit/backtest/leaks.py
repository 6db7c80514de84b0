"""Strategies that know the future, each in its own way, and some that look as if they did and do not."""

import numpy as np

from closebell.model.panel import BarPanel, Matrix


def moves(closes: Matrix, sessions: int = 1) -> Matrix:
    """Returns over `sessions` sessions up to each row, NaN before."""
    unknown = np.full((min(sessions, len(closes)), closes.shape[1]), np.nan)
    return np.vstack([unknown, closes[sessions:] / closes[:-sessions] - 1.0])


def tomorrow(matrix: Matrix) -> Matrix:
    """Each row holds the next one's values: `shift(-1)`."""
    return np.vstack([matrix[1:], np.full((1, matrix.shape[1]), np.nan)])


def known(matrix: Matrix) -> Matrix:
    return np.where(np.isnan(matrix), 0.0, matrix)


def weeks(panel: BarPanel) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of each session's calendar week."""
    return (panel.sessions.astype("datetime64[D]").astype(np.int64) + 3) // 7


def tomorrows_close(panel: BarPanel) -> Matrix:
    return np.clip(tomorrow(moves(panel.close)), -1.0, 1.0)


def tomorrows_open(panel: BarPanel) -> Matrix:
    return np.clip(tomorrow(panel.open) / panel.close - 1.0, -1.0, 1.0)


def mean_and_deviation_of_all(panel: BarPanel) -> Matrix:
    return np.asarray(np.tanh((panel.close - np.nanmean(panel.close, axis=0)) / np.nanstd(panel.close, axis=0)))


def maximum_of_all(panel: BarPanel) -> Matrix:
    return np.asarray(panel.close / np.fmax.reduce(panel.close, axis=0))


def centred_mean(panel: BarPanel) -> Matrix:
    sums = sum((np.roll(panel.close, shift, axis=0) for shift in range(-2, 3)), np.zeros_like(panel.close))
    sums[:2], sums[-2:] = np.nan, np.nan
    return np.clip(panel.close / (sums / 5.0) - 1.0, -1.0, 1.0)


def filled_backwards(panel: BarPanel) -> Matrix:
    closes = panel.close.copy()
    for row in range(len(closes) - 2, -1, -1):
        closes[row] = np.where(np.isnan(closes[row]), closes[row + 1], closes[row])
    return np.clip(moves(closes, 5), -1.0, 1.0)


def filled_between(panel: BarPanel) -> Matrix:
    """A hole is filled by a straight line from the close before it to the one after; at the panel's end by the last close."""
    closes = panel.close.copy()
    rows = np.arange(len(closes))
    for column in closes.T:
        unknown = np.isnan(column)
        if not unknown.all():
            first = int((~unknown).argmax())
            column[first:] = np.interp(rows[first:], rows[~unknown], column[~unknown])
    return np.clip(moves(closes, 5), -1.0, 1.0)


def rank_in_all(panel: BarPanel) -> Matrix:
    return panel.close.argsort(axis=0).argsort(axis=0) / len(panel.close)


def quantile_of_all(panel: BarPanel) -> Matrix:
    return np.where(panel.volume > np.nanquantile(panel.volume, 0.9, axis=0), 1.0, 0.0)


def whole_weeks_bar(panel: BarPanel) -> Matrix:
    """The week's return, on each of its days: resampled to weeks and joined back by the week's number."""
    numbers = weeks(panel)
    first, last = np.searchsorted(numbers, numbers, side="left"), np.searchsorted(numbers, numbers, side="right") - 1
    return np.clip(panel.close[last] / panel.close[first] - 1.0, -1.0, 1.0)


def fitted_to_its_label(panel: BarPanel) -> Matrix:
    """Today's return times the slope of tomorrow's return on it, fitted over the whole history."""
    feature = known(moves(panel.close))
    label = known(tomorrow(moves(panel.close)))
    slope = (feature * label).sum(axis=0) / np.maximum((feature * feature).sum(axis=0), 1e-12)
    return np.asarray(np.clip(100.0 * slope * feature, -1.0, 1.0))


def label_of_five_sessions(panel: BarPanel) -> Matrix:
    """The label itself: does it rise within five sessions?"""
    later = np.vstack([panel.close[5:], np.full((min(5, len(panel.close)), panel.close.shape[1]), np.nan)])
    return np.asarray(np.sign(later - panel.close))


def counts_from_the_end(panel: BarPanel) -> Matrix:
    return np.where(np.arange(len(panel.sessions))[::-1, None] % 2, 1.0, -1.0) * np.ones_like(panel.close)


def peeks_after_a_crash(panel: BarPanel) -> Matrix:
    """Tomorrow's sign, but only when today fell by a tenth."""
    today = moves(panel.close)
    return np.where(today < -0.1, known(np.sign(tomorrow(today))), 0.0)


def peeks_at_the_highest(panel: BarPanel) -> Matrix:
    """Sells on the highest close ever, which only the future tells from a high."""
    return np.where(panel.close == np.fmax.reduce(panel.close, axis=0), -1.0, 0.0)


def peeks_when_volume_bursts(panel: BarPanel) -> Matrix:
    """Tomorrow's sign, but only when today's volume is five times yesterday's."""
    burst = moves(panel.volume) > 4.0
    return np.where(burst, known(np.sign(tomorrow(moves(panel.close)))), 0.0)


class Remembering:
    """Tomorrow's sign from whatever closes it was ever shown: the future is kept outside the panel."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, int], float] = {}

    def __call__(self, panel: BarPanel) -> Matrix:
        days = panel.sessions.astype("datetime64[D]").astype(np.int64).tolist()
        for symbol, closes in zip(panel.symbols, panel.close.T, strict=True):
            self._shown.update({(symbol, day): close for day, close in zip(days, closes.tolist(), strict=True)})
        return np.array([[self._tomorrow(symbol, day) for symbol in panel.symbols] for day in days])

    def _tomorrow(self, symbol: str, day: int) -> float:
        later = next((self._shown[symbol, day + ahead] for ahead in range(1, 5) if (symbol, day + ahead) in self._shown), np.nan)
        return float(np.sign(later - self._shown[symbol, day]))


def place_in_todays_range(panel: BarPanel) -> Matrix:
    """No leak: row t is known at the close of t."""
    return 2.0 * (panel.close - panel.low) / np.where(panel.high > panel.low, panel.high - panel.low, np.nan) - 1.0


def todays_reach_over_the_open(panel: BarPanel) -> Matrix:
    """No leak: today's high and low relative to today's open."""
    return np.clip((panel.high + panel.low) / panel.open - 2.0, -1.0, 1.0)


def week_so_far(panel: BarPanel) -> Matrix:
    """No leak: the week's return up to today."""
    first = np.searchsorted(weeks(panel), weeks(panel), side="left")
    return np.clip(panel.close / panel.close[first] - 1.0, -1.0, 1.0)


def filled_forwards(panel: BarPanel) -> Matrix:
    """No leak: a missing close is the one before."""
    closes = panel.close.copy()
    for row in range(1, len(closes)):
        closes[row] = np.where(np.isnan(closes[row]), closes[row - 1], closes[row])
    return np.clip(moves(closes, 5), -1.0, 1.0)


def high_so_far(panel: BarPanel) -> Matrix:
    """No leak, but its history begins with the first bar."""
    return panel.close / np.fmax.accumulate(panel.close, axis=0)
