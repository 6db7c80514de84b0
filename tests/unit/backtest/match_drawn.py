"""`python -m tests.unit.backtest.match_drawn 100:250 60`: more drawn markets than the tests have time for, a line each.

The seeds from 100 to 249, for 60 sessions each. It ends with 1 when the two desks differ on a seed, or one of them raises.
"""

import sys
import traceback
from collections.abc import Sequence

from tests.unit.backtest.drawn_markets import drawn_case
from tests.unit.backtest.matched_desks import require_match


def told(seed: int, sessions_count: int) -> tuple[bool, str]:
    """Whether the desks agree on a seed, and a line about it."""
    drawn = drawn_case(seed, sessions_count)
    name = f"{seed}: {', '.join(sorted(drawn.oddities)) or 'nothing unusual'}"
    try:
        oracle, records = require_match(drawn.case)
    except Exception:  # noqa: BLE001 - whatever it is, it is a finding about this seed, and the other seeds are still to come
        return False, f"{name}: DIFFERS\n{traceback.format_exc()}"
    counts = f"{len(records.orders)} orders, {len(records.trades)} trades, {oracle.halts_count} halts"
    return True, f"{name}: {counts}, {len(oracle.delisted)} delisted"


def main(arguments: Sequence[str]) -> int:
    """Match the seeds of a span."""
    first, end = (int(number) for number in arguments[0].split(":"))
    differing = 0
    for seed in range(first, end):
        agrees, line = told(seed, int(arguments[1]))
        differing += not agrees
        print(line, flush=True)
    print(f"{end - first} drawn markets, {differing} on which the desks differ")
    return differing > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
