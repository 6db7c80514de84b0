"""`python -m tests.unit.backtest.match_drawn 100:250 60`: more drawn markets than the tests have time for, a line each.

The seeds from 100 to 249, for 60 sessions each. It ends with 1 when the two desks differ on a seed; a desk that raises ends it
at that seed.
"""

import sys
import traceback
from collections.abc import Sequence

from tests.unit.backtest.drawn_markets import drawn_case
from tests.unit.backtest.matched_desks import require_match


def do_match(seed: int, sessions_count: int) -> bool:
    """Whether the desks agree on a seed; says what it is about first, and then what came of it."""
    drawn = drawn_case(seed, sessions_count)
    print(f"{seed}: {', '.join(sorted(drawn.oddities)) or 'nothing unusual'}: ", end="", flush=True)
    try:
        oracle, records = require_match(drawn.case)
    except AssertionError:
        print(f"DIFFERS\n{traceback.format_exc()}")
        return False
    counts = f"{len(records.orders)} orders, {len(records.trades)} trades, {oracle.halts_count} halts"
    print(f"{counts}, {len(oracle.delisted)} delisted")
    return True


def main(arguments: Sequence[str]) -> int:
    """Match the seeds of a span."""
    first, end = (int(number) for number in arguments[0].split(":"))
    differing = sum(not do_match(seed, int(arguments[1])) for seed in range(first, end))
    print(f"{end - first} drawn markets, {differing} on which the desks differ")
    return differing > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
