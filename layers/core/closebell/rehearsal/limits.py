"""The limits of a rehearsal's desk: the usual ones, and from seed 1000 on tight ones in turn, so that each of them binds."""

from decimal import Decimal

from closebell.model.parameters import RiskLimits

TIGHT_FROM_SEED = 1000

USUAL = RiskLimits()
HALF_INVESTED = RiskLimits(gross_exposure_frac_max=Decimal("0.50"))
ONE_A_SECTOR = RiskLimits(sector_exposure_frac_max=Decimal("0.22"), positions_per_sector_count_max=2)
NERVOUS = RiskLimits(daily_loss_frac_max=Decimal("0.01"))
FEW_ORDERS = RiskLimits(orders_per_session_count_max=1)

_IN_TURN = (USUAL, HALF_INVESTED, ONE_A_SECTOR, NERVOUS, FEW_ORDERS)


def limits_of(seed: int) -> RiskLimits:
    """What a seed's desk may do."""
    return _IN_TURN[seed % len(_IN_TURN)] if seed >= TIGHT_FROM_SEED else USUAL
