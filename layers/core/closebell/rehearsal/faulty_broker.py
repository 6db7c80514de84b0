"""The broker's port between the desk and the simulated exchange, with everything that can go wrong in it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar, cast

from closebell.model.broker import (
    Account,
    Asset,
    CashActivity,
    MarketClock,
    OrderRequest,
    OrderType,
    Quote,
    Side,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueStatus,
)
from closebell.model.errors import (
    BrokerKeyRefused,
    BrokerUnavailable,
    ClosebellError,
    InsufficientQuantity,
    OutcomeUnknown,
    RateLimited,
)
from closebell.model.instruments import Market, SessionHours
from closebell.rehearsal.output_checks import CANARY_KEY
from closebell.rehearsal.stage import Stage
from closebell.simulation.exchange.simulated_broker import SimulatedBroker

T = TypeVar("T")

GARBAGE_READS_FRAC = 0.1
"""Reads are many more than orders: this part of them is an occasion for a garbage reply."""


class FaultyBroker:
    """Implements `ports.Broker`. `on_submit` sees every order before anything else happens to it."""

    def __init__(self, stage: Stage, on_submit: Callable[[OrderRequest], None], on_call: Callable[[str], None]) -> None:
        self.stage = stage
        self.real = SimulatedBroker(stage.exchange)
        self.limited_until: datetime | None = None
        self._on_submit, self._on_call = on_submit, on_call
        self._not_found_until: dict[str, datetime] = {}
        self._is_rotated = False
        self._refused_id = self._repeated_id = ""

    # --- reads

    def clock(self) -> MarketClock:
        return self._read("clock", self.real.clock)

    def calendar(self, first: date, last: date) -> list[SessionHours]:
        return self._read("calendar", lambda: self.real.calendar(first, last))

    def account(self) -> Account:
        account = self._read("account", self.real.account)
        is_other = self.stage.strikes("wrong_account")
        return account.model_copy(update={"account_number": "8LIVE0001"}) if is_other else account

    def reopen(self) -> "FaultyBroker | None":
        """The account opened with the key as it now is; None when it is the same key."""
        if not self._is_rotated:
            return None
        self._is_rotated = False
        self._repeated_id, self._refused_id = self._refused_id, ""
        return self

    def asset(self, symbol: str) -> Asset | None:
        return self._read("asset", lambda: self.real.asset(symbol))

    def quotes(self, symbols: Sequence[str], market: Market) -> dict[str, Quote]:
        shown = self._read("quotes", lambda: self.real.quotes(symbols, market))
        if shown and self.stage.strikes("stale_quotes"):
            made_at = self.stage.now - timedelta(hours=self.stage.generator.randint(2, 30))
            former = {symbol: self.stage.exchange.tape.quote(symbol, made_at) for symbol in shown}
            shown = {symbol: quote for symbol, quote in former.items() if quote is not None}
        for symbol, quote in shown.items():
            self.stage.quoted_at[symbol] = max(quote.quoted_at, self.stage.quoted_at.get(symbol, quote.quoted_at))
        return shown

    def positions(self) -> list[VenuePosition]:
        held = self._read("positions", self.real.positions)
        if self.stage.strikes("positions_error"):
            raise BrokerUnavailable("positions answered 500")
        return [] if held and self.stage.strikes("positions_empty") else held

    def open_orders(self) -> list[VenueOrder]:
        found = self._read("open_orders", self.real.open_orders)
        self.stage.unlisted_order_id = ""
        if found and self.stage.strikes("list_omits_order"):
            self.stage.unlisted_order_id = found.pop(self.stage.generator.randrange(len(found))).client_order_id
        return found

    def every_order(self) -> list[VenueOrder]:
        return self._read("every_order", self.real.every_order)

    def order(self, venue_order_id: str) -> VenueOrder | None:
        return self._read("order", lambda: self.real.order(venue_order_id))

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        found = self._read("order_by_client_id", lambda: self.real.order_by_client_id(client_order_id))
        hidden_until = self._not_found_until.get(client_order_id)
        return None if hidden_until is not None and self.stage.now < hidden_until else found

    def activities(self, after_activity_id: str) -> list[VenueFill | CashActivity]:
        found = self._read("activities", lambda: self.real.activities(after_activity_id))
        if found and self.stage.strikes("fills_duplicated"):
            found = [activity for activity in found for _ in range(2)]
        if len(found) > 1 and self.stage.strikes("fills_out_of_order"):
            found = self._disordered(found)
        return found

    # --- writes

    def submit(self, request: OrderRequest) -> VenueOrder:
        if self._repeated_id != request.client_order_id:
            self._on_submit(request)  # a call that is repeated with the new key is judged as it was when it began
        self._repeated_id = ""
        self.stage.note(
            f"POST {request.client_order_id[-6:]} {request.side} {request.quantity_shares} {request.symbol} "
            f"{request.order_type} {request.time_in_force} {request.order_class}"
        )
        self._on_call("submit")
        return cast(VenueOrder, self.stage.around(lambda: self._submit(request), "submit"))

    def cancel(self, venue_order_id: str) -> None:
        self._on_call("cancel")
        self.stage.note(f"DELETE {venue_order_id[:6]}")
        self.stage.around(lambda: self._cancel(venue_order_id), "cancel")

    def _submit(self, request: OrderRequest) -> VenueOrder:
        self._refused_id = request.client_order_id
        self._refuse_access()
        self._refused_id = ""
        strikes, draw = self.stage.strikes, self.stage.generator
        if strikes("timeout_before_arrival"):
            raise OutcomeUnknown("connect timeout")
        if strikes("arrives_late"):
            self.stage.later(draw.randint(1, 480), lambda: self._arrive(request))
            raise OutcomeUnknown("read timeout")
        if strikes("gateway_timeout_then_accepted"):
            self.stage.later(draw.random(), lambda: self._arrive(request))
            raise OutcomeUnknown("504 Gateway Timeout")
        self._meet_the_account(request)
        taken = self.real.submit(request)
        self.stage.note(f"taken: {request.client_order_id[-6:]} is {taken.status}")
        if strikes("reject_after_accept"):
            self.stage.later(1.0, lambda: self._reject(taken.venue_order_id))
        if strikes("lookup_404_lag"):
            self._not_found_until[request.client_order_id] = self.stage.now + timedelta(seconds=draw.randint(20, 600))
            raise OutcomeUnknown("read timeout")
        if strikes("timeout_after_acceptance"):
            raise OutcomeUnknown("read timeout")
        if strikes("garbage_reply"):
            raise OutcomeUnknown("the answer is no JSON") from _client_error()
        return taken

    def _cancel(self, venue_order_id: str) -> None:
        self._refuse_access()
        if self.stage.strikes("slow_cancel"):
            order = self.stage.exchange.order(venue_order_id)
            if order.is_open:
                self.stage.exchange.cancel(venue_order_id, delay_s=self.stage.generator.randint(30, 400))
            return
        if self.stage.strikes("timeout_after_acceptance"):
            self.real.cancel(venue_order_id)
            raise OutcomeUnknown("read timeout")
        self.real.cancel(venue_order_id)

    # --- inside

    def _read(self, name: str, call: Callable[[], T]) -> T:
        self._repeated_id = self._refused_id = ""
        self._on_call(name)
        return cast(T, self.stage.around(lambda: self._answer(name, call), name))

    def _answer(self, name: str, call: Callable[[], T]) -> T:
        if name != "clock":
            self._refuse_access()
        if self.stage.strikes("broker_unavailable"):
            raise BrokerUnavailable(f"{name} answered 500") from _client_error()
        if self.stage.generator.random() < GARBAGE_READS_FRAC and self.stage.strikes("garbage_reply"):
            raise BrokerUnavailable(f"{name} answered an empty body")
        return call()

    def _refuse_access(self) -> None:
        if self.limited_until is not None and self.stage.now < self.limited_until and not self.stage.is_calm:
            raise RateLimited("429 all day", self.limited_until)
        if self.stage.strikes("rate_limited"):
            raise RateLimited("429", self.stage.now + timedelta(seconds=60))
        if self.stage.strikes("secret_rotated"):
            self._is_rotated = True
        if self._is_rotated:
            raise BrokerKeyRefused("401: the key was replaced")
        if self.stage.strikes("key_refused"):
            raise BrokerKeyRefused("401: request is not authorized") from _client_error()

    def _arrive(self, request: OrderRequest) -> None:
        """A request that was on its way gets there: it is taken or refused, and nobody hears of it."""
        try:
            taken = self.real.submit(request)
            self.stage.note(f"arrived late: {request.client_order_id[-6:]} is {taken.status}")
        except ClosebellError as refusal:
            self.stage.note(f"arrived late and was refused: {refusal}")

    def _reject(self, venue_order_id: str) -> None:
        order = self.stage.exchange.order(venue_order_id)
        if order.is_open and not any(member.filled_shares for member in order.family()):
            self.stage.note(f"rejected by the exchange after all: {order.client_order_id[-6:]}")
            self.stage.exchange.floor.end(order, VenueStatus.REJECTED, self.stage.now)

    def _meet_the_account(self, request: OrderRequest) -> None:
        """What is no longer as it was read a moment ago: the cash, the id, the shares."""
        strikes = self.stage.strikes
        if request.side is Side.BUY and strikes("insufficient_buying_power"):
            self._withdraw_all()
        if request.side is Side.BUY and strikes("same_id_other_parameters"):
            self._take_its_id(request)
        if request.side is Side.SELL and request.order_type is OrderType.MARKET:
            if strikes("shares_held"):
                raise InsufficientQuantity("insufficient qty available for order (a cancelled order still holds it)", 40310000)
            if strikes("phantom_exit"):
                self._owner_sells(request.symbol)

    def _take_its_id(self, request: OrderRequest) -> None:
        """Somebody orders another quantity under our id, and the exchange's staff takes that order out again."""
        floor = self.stage.exchange.floor
        with suppress(ClosebellError):
            self.real.submit(request.model_copy(update={"quantity_shares": request.quantity_shares + 1}))
            stray = floor.orders.by_client_id(request.client_order_id)
            if stray is not None and stray.is_open:
                floor.end(stray, VenueStatus.CANCELED, self.stage.now)
                self.stage.strays.add(request.client_order_id)

    def _owner_sells(self, symbol: str) -> None:
        self.stage.note(f"the owner sells all {symbol} a moment before")
        self.stage.exchange.trade_manually(symbol, Side.SELL, self.stage.exchange.floor.book.shares(symbol))

    def _withdraw_all(self) -> None:
        floor = self.stage.exchange.floor
        spare = (floor.book.cash_usd - floor.orders.reserved_usd()).quantize(Decimal("0.01")) - 1
        if spare > 0:
            self.stage.exchange.transfer(-spare)
            self.stage.later(20 * 3600, lambda: self.stage.exchange.transfer(spare))

    def _disordered(self, found: list[VenueFill | CashActivity]) -> list[VenueFill | CashActivity]:
        """The newest one is not listed yet, or two neighbours of different symbols changed places."""
        if self.stage.generator.random() < 0.5:
            return found[:-1]
        for place in range(len(found) - 1):
            if found[place].symbol != found[place + 1].symbol:
                found[place], found[place + 1] = found[place + 1], found[place]
        return found


def _client_error() -> ConnectionError:
    """What a real client's exception looks like underneath: with the request's headers, the key among them."""
    return ConnectionError(f"POST /v2/orders, headers: APCA-API-SECRET-KEY={CANARY_KEY}")
