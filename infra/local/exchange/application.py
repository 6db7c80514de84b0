"""The ASGI application: key, rate limit, faults, route, reply. One worker, one request at a time through the engine."""

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from closebell.simulation.exchange.faults import FaultSwitch, FaultyRequest
from closebell.simulation.exchange.venue_orders import MALFORMED, NOT_FOUND, RefusalError
from infra.local.exchange import control_api, data_api, trading_api
from infra.local.exchange.api import ApiCall, Endpoint, Reply
from infra.local.exchange.rate_limit import RateLimiter
from infra.local.exchange.reply_faults import REPLY_FAULTS, spoiled
from infra.local.exchange.venue import COMMAND_ERRORS, Venue

_BEFORE = ("unauthorized", "rate_limited", "server_error", "positions_error", "timeout_before")
_AFTER = ("timeout_after", "garbage_html", "truncated_body", "empty_200")
_AFTER_ACCEPT = ("gateway_timeout_after_accept",)
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_LOOPBACK = ("127.0.0.1", "::1", "testclient")
UNAUTHORIZED = Reply(401, {"message": "unauthorized."})
TOO_MANY = Reply(429, {"code": 42910000, "message": "rate limit exceeded"})


@dataclass(frozen=True)
class Gate:
    """Who may come in, and how often. `counts_wall_time` counts requests by the wall clock instead of the virtual one."""

    key_id: str
    secret_key: str
    trading_limit: RateLimiter
    data_limit: RateLimiter
    counts_wall_time: bool = False

    def knows(self, request: Request) -> bool:
        """Whether the request carries the keys, or needs none (coins' prices, Cboe's file)."""
        if request.url.path.startswith(("/v1beta3/crypto", "/cboe/")):
            return True
        headers = request.headers
        return (headers.get("APCA-API-KEY-ID"), headers.get("APCA-API-SECRET-KEY")) == (self.key_id, self.secret_key)

    def admit(self, venue: Venue, path: str) -> tuple[bool, dict[str, str]]:
        """Count a request against its limit."""
        epoch_s = time.time() if self.counts_wall_time else venue.exchange.now.timestamp()
        is_data = path.startswith(("/v2/stocks", "/v1"))
        return (self.data_limit if is_data else self.trading_limit).admit(epoch_s)


def listening(port: int) -> socket.socket:
    """A loopback listener (port 0 takes a free one). TCP must be named: asyncio turns Nagle's delay off only then, and with it
    every reply on a kept connection takes 40 ms."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def build_application(venue: Venue, gate: Gate) -> Starlette:
    """Every route of the exchange."""
    routes = [
        HttpRoute(path, _served(venue, gate, endpoint), methods=[method])
        for method, path, endpoint in (*trading_api.ROUTES, *data_api.ROUTES)
    ]
    routes += [HttpRoute(path, _controlled(venue, endpoint), methods=[method]) for method, path, endpoint in control_api.ROUTES]
    return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})


async def _not_found(request: Request, error: Exception) -> Response:
    return _written(Reply(404, {"code": NOT_FOUND, "message": "endpoint not found."}), {})


def _controlled(venue: Venue, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if request.client is None or request.client.host not in _LOOPBACK:
            return _written(Reply(403, {"message": "loopback only"}), {})
        try:
            return _written(endpoint(venue, await _parsed(request)), {})
        except RefusalError as refusal:
            return _written(Reply(refusal.http_status, refusal.body()), {})
        except COMMAND_ERRORS as error:
            return _written(Reply(400, {"message": f"{type(error).__name__}: {error}"}), {})

    return answer


def _served(venue: Venue, gate: Gate, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if not gate.knows(request):
            return _written(UNAUTHORIZED, {})
        try:
            call = await _parsed(request)
        except RefusalError as refusal:
            return _written(Reply(refusal.http_status, refusal.body()), {})
        admitted, headers = gate.admit(venue, call.path)
        before = _struck(venue, call, _BEFORE)
        if before is not None:
            return await _prevented(before, headers)
        if not admitted:
            return _written(TOO_MANY, headers)
        reply = _answered(venue, endpoint, call)
        after = _struck(venue, call, (*_AFTER, *(_AFTER_ACCEPT if reply.status < HTTPStatus.BAD_REQUEST else ())))
        return _written(reply, headers) if after is None else await _garbled(after, reply, headers)

    return answer


def _answered(venue: Venue, endpoint: Endpoint, call: ApiCall) -> Reply:
    try:
        reply = endpoint(venue, call)
    except RefusalError as refusal:
        body = refusal.body()
        return Reply(refusal.http_status, body if refusal.code else {"message": body["message"]})
    for name in REPLY_FAULTS:
        fault = _struck(venue, call, (name,), reply)
        reply = reply if fault is None else spoiled(fault, reply)
    return reply


def _struck(venue: Venue, call: ApiCall, names: tuple[str, ...], reply: Reply | None = None) -> FaultSwitch | None:
    """The fault that strikes this call now, counted. A listing is about the symbols of its rows."""
    if not venue.faults.switches:
        return None
    words = [*call.words("symbols"), str(call.body.get("symbol", "")), call.parts.get("symbol", "")]
    if reply is not None and isinstance(reply.body, list):
        words += [row.get("symbol", "") for row in reply.body]
    order = venue.exchange.floor.orders.orders.get(call.parts.get("id", ""))
    words += [order.symbol] if order else []
    symbols = frozenset(venue.exchange.spelled(word) for word in words if word)
    place = venue.faults.find(names, FaultyRequest(call.method, call.path, symbols, venue.exchange.now))
    if place is None:
        return None
    switch: FaultSwitch = venue.execute({"do": "use_fault", "place": place})
    return switch


async def _prevented(fault: FaultSwitch, headers: dict[str, str]) -> Response:
    """The request is never processed."""
    if fault.name == "timeout_before":
        await asyncio.sleep(fault.seconds)
    replies = {
        "unauthorized": UNAUTHORIZED,
        "rate_limited": TOO_MANY,
        "timeout_before": Reply(504, {"message": "gateway timeout"}),
    }
    if fault.name == "rate_limited":
        headers = headers | {"X-Ratelimit-Remaining": "0"}
    return _written(replies.get(fault.name, Reply(500, {"code": 50010000, "message": "internal server error occurred"})), headers)


async def _garbled(fault: FaultSwitch, reply: Reply, headers: dict[str, str]) -> Response:
    """The request has been processed; its answer is lost on the way."""
    if fault.name == "timeout_after":
        await asyncio.sleep(fault.seconds)
    if fault.name in ("timeout_after", "gateway_timeout_after_accept"):
        return _written(Reply(504, {"message": "gateway timeout"}), headers)
    if fault.name == "garbage_html":
        return _written(Reply(502, text=_HTML, content_type="text/html"), headers)
    whole = _written(reply, headers)
    if fault.name == "truncated_body":
        half = bytes(whole.body)[: len(whole.body) // 2]
        return Response(half, whole.status_code, headers, "application/json")
    return Response(b"", 200, headers, "application/json")


async def _parsed(request: Request) -> ApiCall:
    raw = await request.body()
    body: Any = {}
    if raw:
        try:
            body = json.loads(raw, parse_float=str)
        except ValueError as error:
            raise RefusalError(422, MALFORMED, "request body format is invalid") from error
    if isinstance(body, list):
        body = {"faults": body}
    if not isinstance(body, dict):
        raise RefusalError(422, MALFORMED, "request body format is invalid")
    query = dict(request.query_params)
    return ApiCall(request.method, request.url.path, dict(request.path_params), query, body)


def _written(reply: Reply, headers: dict[str, str]) -> Response:
    if reply.text is not None:
        return Response(reply.text, reply.status, headers, reply.content_type)
    if reply.body is None:
        return Response(b"", reply.status, headers)
    return Response(json.dumps(reply.body), reply.status, headers, reply.content_type)
