"""What the owner may set: the universe, the limits, the strategies. A typo is refused by the schema."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from closebell.model.instruments import Instrument, Market
from closebell.model.record import Key, Record, Value

HISTORY_SESSIONS_MAX = 2520

Fraction = Annotated[Decimal, Field(gt=0, le=1)]
LossFraction = Annotated[Decimal, Field(gt=0, lt=1)]


class RiskLimits(Value):
    """The limits of the risk checks. Fractions are of equity unless said otherwise (0.02 is two percent)."""

    positions_count_max: int = Field(default=5, ge=1, le=100)
    positions_per_sector_count_max: int = Field(default=3, ge=1)
    sector_exposure_frac_max: Fraction = Decimal("0.60")
    gross_exposure_frac_max: Annotated[Decimal, Field(gt=0, le=4)] = Decimal("1.00")
    position_weight_frac_max: Fraction = Decimal("0.20")
    risk_per_trade_frac_min: Fraction = Decimal("0.01")
    risk_per_trade_frac_max: Fraction = Decimal("0.02")
    daily_loss_frac_max: Fraction = Decimal("0.05")
    price_collar_frac: Fraction = Decimal("0.05")
    notional_usd_min: Annotated[Decimal, Field(ge=1)] = Decimal(100)
    volume_share_frac_max: Fraction = Decimal("0.01")
    orders_per_session_count_max: int = Field(default=50, ge=1)
    snapshot_age_s_max: int = Field(default=3600, ge=60)
    quote_age_s_max: int = Field(default=3600, ge=60)
    universe_coverage_frac_min: Fraction = Decimal("0.80")

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Self:
        if self.risk_per_trade_frac_min > self.risk_per_trade_frac_max:
            raise ValueError("risk_per_trade_frac_min is above risk_per_trade_frac_max")
        return self


class ExitTerms(Value):
    """How a position ends: fractions of the fill price, sessions counted from the session after the fill."""

    stop_loss_frac: LossFraction = Decimal("0.03")
    take_profit_frac: Fraction = Decimal("0.08")
    time_stop_sessions: int = Field(default=5, ge=1)
    minimum_hold_sessions: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _hold_ends_before_the_time_stop(self) -> Self:
        if self.minimum_hold_sessions > self.time_stop_sessions:
            raise ValueError("minimum_hold_sessions is above time_stop_sessions")
        return self


class EntryTerms(Value):
    """How a position begins: at the opening auction, or by a limit `limit_offset_frac` above the last close."""

    use_limit: bool = False
    limit_offset_frac: Fraction = Decimal("0.01")


class ParameterSet(Record):
    """Everything the owner may set, as one version. The journal keeps the current one under `control`."""

    kind: ClassVar[str] = "parameter_set"

    version_count: int = Field(default=1, ge=1)
    universe: tuple[Instrument, ...]
    regime_symbol: str = Field(default="SPY", min_length=1)
    crypto_regime_symbol: str = Field(default="BTC/USD", min_length=1)
    strategies: tuple[str, ...] = ("sma_cross", "rsi", "macd", "mean_reversion", "momentum")
    votes_to_act_count_min: int = Field(default=2, ge=1)
    history_sessions: int = Field(default=300, ge=220, le=HISTORY_SESSIONS_MAX)
    limits: RiskLimits = RiskLimits()
    exits: ExitTerms = ExitTerms()
    entries: EntryTerms = EntryTerms()

    @model_validator(mode="after")
    def _names_make_sense(self) -> Self:
        symbols = [instrument.symbol for instrument in self.universe]
        doubled = sorted(symbol for symbol, count in Counter(symbols).items() if count > 1)
        if doubled:
            raise ValueError(f"universe names {', '.join(doubled)} more than once")
        if not symbols:
            raise ValueError("universe is empty: name at least one instrument")
        if self.votes_to_act_count_min > len(self.strategies):
            raise ValueError(
                f"votes_to_act_count_min is {self.votes_to_act_count_min}, more than strategies vote: {len(self.strategies)}"
            )
        return self

    def instruments(self, market: Market) -> tuple[Instrument, ...]:
        """The universe's instruments of one market, in the order of the configuration."""
        return self._instruments_of.get(market, ())

    @cached_property
    def sectors(self) -> Mapping[str, str]:
        """Sector by symbol."""
        return {instrument.symbol: instrument.sector for instrument in self.universe}

    @cached_property
    def markets(self) -> tuple[Market, ...]:
        """The markets that the universe trades in, sorted."""
        return tuple(sorted(self._instruments_of))

    @cached_property
    def as_json(self) -> str:
        """The configuration as text, for fingerprints."""
        return self.model_dump_json()

    @cached_property
    def _instruments_of(self) -> Mapping[Market, tuple[Instrument, ...]]:
        found: dict[Market, list[Instrument]] = {}
        for instrument in self.universe:
            found.setdefault(instrument.market, []).append(instrument)
        return {market: tuple(instruments) for market, instruments in found.items()}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy computes anew what is derived from its fields."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    def regime_symbol_of(self, market: Market) -> str:
        """The symbol whose averages tell a market's regime."""
        return self.crypto_regime_symbol if market is Market.CRYPTO else self.regime_symbol

    @property
    def key(self) -> Key:
        return Key("control", "DESK", "PARAMETERS")
