"""The error tree: each class says what follows from it.

ClosebellError
├── DataError                  skip the symbol and say why
├── ConfigurationError         refuse to start; the message names the setting and the mend
├── RunRefused                 this run must not act (late, no plans, wrong version); recorded, alerted
├── OrderDenied                our own check said no before anything was sent; record
├── OrderRejected              the broker said no and meant it; record, never resize and retry
│   ├── InsufficientBuyingPower
│   ├── InsufficientQuantity   reconcile, then classify: held by our own orders, or a phantom
│   └── WashTrade
├── DuplicateOrderId           the broker knows this id already: look it up and adopt it
├── BrokerUnavailable          a read failed: nothing changes, try again next cycle
│   ├── RateLimited            the same, after `reset_at`
│   ├── RequestRefused         what was asked for is wrong, a symbol in it perhaps: ask for less
│   ├── AccessRefused          the key or its plan does not include what was asked for
│   └── BrokerKeyRefused       401 or 403 on the key: halt
├── OutcomeUnknown             a write may or may not have happened: look up, re-send the same id only
├── StoreUnavailable           a table, bucket or topic could not be reached, or is missing
├── JournalConflict            somebody else did it already: stop quietly
└── BooksDisagree              what the broker shows cannot be ours: halt
"""

from datetime import datetime


class ClosebellError(Exception):
    """Any error of closebell's own. Messages say what was wrong, where, and what to do."""


class DataError(ClosebellError):
    """Market data that must not be used."""


class ConfigurationError(ClosebellError):
    """A setting that is missing or cannot be right."""


class RunRefused(ClosebellError):
    """This run must not act; the reason is recorded with the run."""


class OrderDenied(ClosebellError):
    """A check of ours said no before anything was sent."""


class OrderRejected(ClosebellError):
    """The broker refused the order for good: a 4xx with a numeric code.

    Parameters
    ----------
    message
        The broker's words.
    code
        The broker's numeric code, for example 40310000.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class InsufficientBuyingPower(OrderRejected):
    """The account cannot pay for it."""


class InsufficientQuantity(OrderRejected):
    """The broker does not hold, or has not free, what was to be sold."""


class WashTrade(OrderRejected):
    """An opposing order of ours rests in the market."""


class DuplicateOrderId(ClosebellError):
    """The broker already knows this client order id."""


class BrokerUnavailable(ClosebellError):
    """A read from the broker failed. Nothing may be concluded from it, least of all that the account is flat."""


class RateLimited(BrokerUnavailable):
    """HTTP 429: the same request may be sent after `reset_at` (UTC; None when the broker did not say)."""

    def __init__(self, message: str, reset_at: datetime | None = None) -> None:
        super().__init__(message)
        self.reset_at = reset_at


class RequestRefused(BrokerUnavailable):
    """HTTP 400 or 422 on a read: the same request will never be answered, perhaps for one symbol of many."""


class AccessRefused(BrokerUnavailable):
    """HTTP 403 on a read, or the plan is named as the reason: another key or feed may be answered."""


class BrokerKeyRefused(BrokerUnavailable):
    """The broker does not accept the key."""


class OutcomeUnknown(ClosebellError):
    """A request was sent and no trustworthy answer came back."""


class StoreUnavailable(ClosebellError):
    """A table, bucket, topic or parameter could not be reached or does not exist."""


class JournalConflict(ClosebellError):
    """A conditional write lost: the record exists already or has moved on."""


class BooksDisagree(ClosebellError):
    """The broker shows something that contradicts what we committed, and no rule explains it."""
