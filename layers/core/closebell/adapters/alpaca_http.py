"""One alpaca-py client made safe for money: timeouts, no retries, no redirects, every failure one of our errors.

alpaca-py (0.44) sends a POST again on 504 and 429, up to four times, and has no timeout at all; neither can be set through
its constructors. Retries live in `_retry`, the transport in `_session`; both are set here and nowhere else.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from alpaca.common.rest import RESTClient
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from closebell.adapters.alpaca_errors import FAILURES, Failure, UnreadableReplyError, failure_of, read_error, send_error
from closebell.model.errors import ConfigurationError

T = TypeVar("T")
Query = Mapping[str, str | int]

CONNECTIONS_MAX = 8
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Timeouts(NamedTuple):
    """How long to wait for a connection, and for the next byte of a reply; and how long an unused connection is trusted.

    Between two runs a Lambda is frozen and the other side hangs up: the next order would be sent into a dead connection, and
    its outcome be unknown for nothing.
    """

    connect_s: float = 3.0
    read_s: float = 10.0
    idle_s: float = 20.0


class Credentials:
    """The two halves of an Alpaca key. Its text never shows them.

    A key pasted with a blank or a line end would surface, quoted, in the error that an HTTP library makes of the bad header:
    it is refused here, unquoted.
    """

    def __init__(self, key_id: str, secret_key: str) -> None:
        for part, value in (("key id", key_id), ("secret key", secret_key)):
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                raise ConfigurationError(f"the broker's {part} is empty, or has a blank, line end or non-ASCII character in it")
        self.key_id = key_id
        self.secret_key = secret_key

    def __repr__(self) -> str:
        return "Credentials(***)"


class AlpacaHttp:
    """Calls through one alpaca-py client in raw mode. Each call parses its reply: an unreadable one fails like none at all."""

    def __init__(self, client: RESTClient, credentials: Credentials, timeouts: Timeouts) -> None:
        self._client = client
        self._secrets = (credentials.secret_key, credentials.key_id)
        client._retry = 0
        session = client._session
        adapter = _TimedAdapter(timeouts)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        if urlsplit(str(client._base_url)).hostname in LOOPBACK_HOSTS:
            session.trust_env = False  # a proxy named in the environment cannot reach this machine's own ports

    def read(self, path: str, query: Query, parse: Callable[[Any], T]) -> T:
        """GET. Raises BrokerUnavailable (RateLimited, BrokerKeyRefused)."""
        outcome = self._attempt(lambda: parse(self._client.get(path, dict(query))))
        if isinstance(outcome, Failure):
            raise read_error(outcome, f"GET {path}")
        return outcome

    def read_if_found(self, path: str, query: Query, parse: Callable[[Any], T]) -> T | None:
        """GET; None when the venue says that there is no such thing."""
        outcome = self._attempt(lambda: parse(self._client.get(path, dict(query))))
        if isinstance(outcome, Failure):
            if outcome.is_not_found:
                return None
            raise read_error(outcome, f"GET {path}")
        return outcome

    def post(self, path: str, body: dict[str, Any], parse: Callable[[Any], T]) -> T:
        """POST once. Raises OrderRejected and its kind, DuplicateOrderId, RateLimited, BrokerKeyRefused, OutcomeUnknown."""
        outcome = self._attempt(lambda: parse(self._client.post(path, body)))
        if isinstance(outcome, Failure):
            raise send_error(outcome, f"POST {path}")
        return outcome

    def delete(self, path: str) -> None:
        """DELETE once; the errors of `post`. Only an empty 204 counts as done."""
        outcome = self._attempt(lambda: _require_nothing(self._client.delete(path)))
        if isinstance(outcome, Failure):
            raise send_error(outcome, f"DELETE {path}")

    def _attempt(self, call: Callable[[], T]) -> T | Failure:
        """The vendor's exception ends here: it holds the request and, with it, the headers that carry the key."""
        try:
            return call()
        except FAILURES as error:
            return failure_of(error, self._secrets)


class _PlainJsonResponse(Response):
    """Parsed by the standard library. requests prefers simplejson where it is installed, as it is beside AWS's Python runtime,
    and the two differ: a NaN would pass in one place and fail the whole reading in the other."""

    def json(self, **_: Any) -> Any:
        return json.loads(self.content)


class _TimedAdapter(HTTPAdapter):
    def __init__(self, timeouts: Timeouts) -> None:
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS_MAX, max_retries=0)
        self._timeouts = timeouts
        self._used_at_s = time.monotonic()

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        if time.monotonic() - self._used_at_s > self._timeouts.idle_s:
            self.poolmanager.clear()
        self._used_at_s = time.monotonic()
        kwargs["timeout"] = (self._timeouts.connect_s, self._timeouts.read_s)
        response = super().send(request, *args, **kwargs)
        if 300 <= response.status_code < 400:
            raise UnreadableReplyError(f"HTTP {response.status_code}: redirects are not followed")
        if response.status_code == 200 and not response.content:
            raise UnreadableReplyError("HTTP 200 with nothing in it")
        plain = _PlainJsonResponse()
        vars(plain).update(vars(response))
        return plain


def _require_nothing(reply: object) -> None:
    if reply is not None:
        raise UnreadableReplyError("a reply where none was due")


def bare_origin(url: str, setting: str) -> str:
    """`https://host[:port]` of an address; the clients append the path themselves. Raises ConfigurationError."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{setting} is {url!r}: it should look like https://paper-api.alpaca.markets")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"{setting} is {url!r}: give the bare origin, {parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    if parts.scheme == "http" and parts.hostname.endswith("alpaca.markets"):
        raise ConfigurationError(f"{setting} is {url!r}: the key would travel in the clear, use https")
    return f"{parts.scheme}://{parts.netloc}"
