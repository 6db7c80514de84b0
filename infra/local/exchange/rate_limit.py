"""Alpaca's request limit: so many a minute, told in three headers."""

_WINDOW_S = 60


class RateLimiter:
    """Counts requests in whole minutes of whatever clock it is given (epoch seconds)."""

    def __init__(self, limit_count: int) -> None:
        self.limit_count = limit_count
        self._window = -1
        self._used = 0

    def admit(self, epoch_s: float) -> tuple[bool, dict[str, str]]:
        """Count a request; returns whether it is within the limit, and the reply's headers."""
        window = int(epoch_s // _WINDOW_S)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        headers = {
            "X-Ratelimit-Limit": str(self.limit_count),
            "X-Ratelimit-Remaining": str(max(self.limit_count - self._used, 0)),
            "X-Ratelimit-Reset": str((window + 1) * _WINDOW_S),
        }
        return self._used <= self.limit_count, headers
