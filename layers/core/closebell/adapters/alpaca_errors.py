"""Whatever alpaca-py, requests or an unreadable reply throws, as one of our errors. The only place that decides this.

A refusal is a 4xx (not 401, 408 or 429) with a numeric code: the venue understood and said no. Everything else leaves a write
unknown and a read failed. 40310000 is the venue's catch-all, so a refusal is told apart by code, message *and* fields.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from typing import NamedTuple

from alpaca.common.exceptions import APIError, RetryException
from urllib3.exceptions import HTTPError

from closebell.model.errors import (
    AccessRefused,
    BrokerKeyRefused,
    BrokerUnavailable,
    ClosebellError,
    DuplicateOrderId,
    InsufficientBuyingPower,
    InsufficientQuantity,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    WashTrade,
)

DUPLICATE_ID_CODE = 40010001
NOT_A_REFUSAL = frozenset({401, 408, 429})
ASKED_WRONGLY = frozenset({400, 422})
CASH_CURRENCIES = ("USD", "USDT", "USDC")
MESSAGE_CHARS_MAX = 300

FAILURES = (
    APIError, RetryException, OSError, HTTPError, HTTPException,
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
)
"""What a call through alpaca-py can throw: its own two, those of requests (all OSErrors), urllib3 and http.client that requests
lets through, and whatever its code does with a reply of the wrong shape."""


class UnreadableReplyError(ValueError):
    """A reply that is not what the venue documents: a field is missing, or has a value that cannot be one."""


class Failure(NamedTuple):
    """What is known of a call that brought no usable reply. `status` is None when none arrived, `code` when it had none."""

    status: int | None
    code: int | None
    message: str
    fields: Mapping[str, object]
    reset_at: datetime | None

    @property
    def is_refusal(self) -> bool:
        """The venue understood the request and said no."""
        return self.code is not None and self.status is not None and 400 <= self.status < 500 and self.status not in NOT_A_REFUSAL

    @property
    def is_not_found(self) -> bool:
        """A 404 about the thing asked for. Without a code it comes from something in between; "endpoint not found" means that
        the address is wrong."""
        return self.status == 404 and self.code is not None and "endpoint" not in self.message.lower()


def failure_of(error: Exception, secrets: Sequence[str]) -> Failure:
    """What an exception says, without the `secrets` that a venue or a library may have quoted in it."""
    if not isinstance(error, APIError):
        return Failure(None, None, _printable(f"{type(error).__name__}: {error}", secrets), {}, None)
    body = str(error)
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = None
    fields: Mapping[str, object] = decoded if isinstance(decoded, dict) else {}
    response = error.response
    headers: Mapping[str, str] = {} if response is None else response.headers
    return Failure(
        status=error.status_code, code=_whole_number(fields.get("code")),
        message=_printable(str(fields.get("message") or body or "no message"), secrets), fields=fields,
        reset_at=_reset_at(headers),
    )


def read_error(failure: Failure, call: str) -> BrokerUnavailable:
    """Why a read failed. Nothing may be concluded from it."""
    said = f"{call}: {_told(failure)}"
    if failure.status == 429:
        return RateLimited(f"{said}; the same request may be sent after the reset", failure.reset_at)
    if _is_about_the_key(failure):
        return BrokerKeyRefused(f"{said}; check the broker key, and that it belongs to this paper or live account")
    if "subscription" in failure.message:
        return AccessRefused(f'{said}; the data plan does not include this feed, ask for feed "iex"')
    if failure.status == 403:
        return AccessRefused(f"{said}; the key is refused, or not entitled to this: check it, and what its plan includes")
    if failure.status in ASKED_WRONGLY:
        return RequestRefused(said)
    return BrokerUnavailable(said)


def send_error(failure: Failure, call: str) -> ClosebellError:
    """What became of a write: refused for good, not accepted yet, or nobody knows."""
    if failure.is_refusal:
        return _refusal_error(failure)
    if failure.status == 429 or _is_about_the_key(failure):
        return read_error(failure, call)
    if failure.status == 403 and failure.code is None:
        return BrokerKeyRefused(_told(failure))
    return OutcomeUnknown(f"{call}: {_told(failure)}; it may have been accepted")


def _refusal_error(failure: Failure) -> ClosebellError:
    message = failure.message.lower()
    if failure.status == 422 and (failure.code == DUPLICATE_ID_CODE or "client_order_id must be unique" in message):
        return DuplicateOrderId(f"{failure.message} (code {failure.code})")
    if "wash trade" in message or "existing_order_id" in failure.fields:
        return WashTrade(failure.message, failure.code)
    if "insufficient balance for " in message:
        asset = message.partition("insufficient balance for ")[2].split()[0].upper()
        is_cash = asset in CASH_CURRENCIES
        return (InsufficientBuyingPower if is_cash else InsufficientQuantity)(failure.message, failure.code)
    if "insufficient qty" in message or "held_for_orders" in failure.fields:
        return InsufficientQuantity(failure.message, failure.code)
    if "buying power" in message or "buying_power" in failure.fields:
        return InsufficientBuyingPower(failure.message, failure.code)
    return OrderRejected(failure.message, failure.code)


def _is_about_the_key(failure: Failure) -> bool:
    """401. A 403 without a code on a read can be a gateway's or a subscription's, and must not halt the desk."""
    return failure.status == 401


def _told(failure: Failure) -> str:
    if failure.status is None:
        return failure.message
    return f"HTTP {failure.status}{f' (code {failure.code})' if failure.code is not None else ''}: {failure.message}"


def _printable(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:MESSAGE_CHARS_MAX]


def _whole_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _reset_at(headers: Mapping[str, str]) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(headers["X-Ratelimit-Reset"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
