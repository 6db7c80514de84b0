"""How much: the largest quantity that every limit allows, and which limit that was."""

from decimal import Decimal

from closebell.decision.exposure import Exposure
from closebell.decision.money import cents, quantity_step_shares
from closebell.decision.risk import Candidate
from closebell.model.decision import Allocation, Regime, Trend, Volatility
from closebell.model.parameters import RiskLimits

_ZERO = Decimal(0)
_WEIGHT_STEP = Decimal("0.0001")


def risk_budget_frac(regime: Regime, limits: RiskLimits) -> Decimal:
    """The share of equity one trade may lose at its stop.

    The most in a calm bull market, the least in a bear market, a nervous one or one we cannot judge, the middle otherwise.
    """
    if regime.trend in {Trend.BEAR, Trend.UNKNOWN} or regime.volatility in {Volatility.HIGH, Volatility.UNKNOWN}:
        return limits.risk_per_trade_frac_min
    if regime.trend is Trend.BULL and regime.volatility is Volatility.LOW:
        return limits.risk_per_trade_frac_max
    return (limits.risk_per_trade_frac_min + limits.risk_per_trade_frac_max) / 2


NOTHING = Allocation(quantity_shares=_ZERO, notional_usd=_ZERO, weight_frac=_ZERO, risk_usd=_ZERO, binding="broker_truth")
"""The size of every entry while the broker cannot be read."""


def allocate(candidate: Candidate, exposure: Exposure | None, limits: RiskLimits, budget_frac: Decimal) -> Allocation:
    """Size an entry. Whole shares for equities, nine decimals for coins, rounded down; zero when a limit leaves no room.

    Every room is divided by the commitment price, so the limits still hold if the fill is as bad as the collar allows.
    """
    if exposure is None:
        return NOTHING
    equity, price = exposure.equity_usd, candidate.commitment_price_usd
    held = exposure.values_usd.get(candidate.symbol, _ZERO)
    rooms_usd = {
        "risk_per_trade": equity * budget_frac / candidate.stop_loss_frac,
        "position_weight": equity * limits.position_weight_frac_max - held,
        "sector_exposure": equity * limits.sector_exposure_frac_max - exposure.sector_usd(candidate.sector),
        "gross_exposure": equity * limits.gross_exposure_frac_max - exposure.gross_usd,
        "buying_power": exposure.buying_power_usd,
    }
    step = quantity_step_shares(candidate.market)
    steps = {name: max(room, _ZERO) // (price * step) for name, room in rooms_usd.items()}
    if candidate.average_volume_shares is not None:
        steps["volume_share"] = candidate.average_volume_shares * limits.volume_share_frac_max // step
    bound = min(steps, key=lambda name: steps[name])
    quantity = steps[bound] * step
    notional = quantity * candidate.reference_price_usd
    return Allocation(
        quantity_shares=quantity,
        notional_usd=cents(notional),
        weight_frac=(notional / equity).quantize(_WEIGHT_STEP) if equity > 0 else _ZERO,
        risk_usd=cents(notional * candidate.stop_loss_frac),
        binding=bound,
    )
