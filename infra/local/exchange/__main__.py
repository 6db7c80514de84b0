"""`python -m infra.local.exchange --market synthetic --start 2024-01-02T14:00:00+00:00 --port 0 --state-dir DIR`.

Prints one JSON line, {"port": N, ...}, when it is ready; ends when its parent does.
"""

import argparse
import json
import os
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import uvicorn

from closebell.simulation.exchange.trading_floor import ExchangeOptions
from closebell.simulation.market import SimulatedMarket
from infra.local.exchange.application import Gate, build_application, listening
from infra.local.exchange.rate_limit import RateLimiter
from infra.local.exchange.venue import CommandLog, Venue
from infra.local.lifeline import LOCK_TIMEOUT_S, hold, stop_with_parent


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="infra.local.exchange", description="The simulated exchange over HTTP, on loopback.")
    parser.add_argument("--market", required=True, help="real, synthetic, or MODULE:CLASS of a SimulatedMarket")
    parser.add_argument("--seed", type=int, default=7, help="of the synthetic market and of random partial fills")
    parser.add_argument("--start", type=datetime.fromisoformat, required=True, help="the clock's first instant, with its zone")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state-dir", type=Path, required=True, help="where the command log lies")
    parser.add_argument("--cash", type=Decimal, default=Decimal(100_000), help="USD at the start")
    parser.add_argument("--multiplier", type=int, choices=(1, 2), default=1, help="1: cash account, 2: margin")
    parser.add_argument("--print-share", type=Decimal, default=Decimal(1), help="part of a print's size one can trade")
    parser.add_argument("--partial-fills", type=float, default=0.0, help="chance that a fill is only half (Alpaca paper: 0.1)")
    parser.add_argument("--cancel-latency", type=float, default=1.0, help="virtual seconds; 0 cancels at once")
    parser.add_argument("--rate-limit", type=int, default=200, help="requests a minute")
    parser.add_argument("--rate-clock", choices=("virtual", "wall"), default="virtual")
    parser.add_argument("--key-id", default="LOCAL-KEY")
    parser.add_argument("--secret-key", default="LOCAL-SECRET")
    return parser.parse_args()


def _market(name: str, seed: int) -> SimulatedMarket:
    if name == "synthetic":
        made: SimulatedMarket = import_module("infra.local.synthetic").build_synthetic_market(seed)
    elif name == "real":
        made = import_module("infra.local.real").build_real_market()
    else:
        module, _, class_name = name.partition(":")
        made = getattr(import_module(module), class_name)()
    return made


def main() -> None:
    """Serve until asked to stop."""
    os.environ.setdefault("CLOSEBELL_PARENT", str(os.getppid()))
    stop_with_parent()
    options = _arguments()
    if options.start.tzinfo is None:
        raise SystemExit("--start needs a time zone, for example 2018-10-01T12:00:00+00:00")
    if not hold(options.state_dir / "exchange.lock", LOCK_TIMEOUT_S):
        raise SystemExit(f"another exchange runs on {options.state_dir}")
    floor = ExchangeOptions(
        cash_usd=options.cash,
        margin_multiplier_ratio=options.multiplier,
        print_share_frac=options.print_share,
        partial_fill_frac=options.partial_fills,
        cancel_latency_s=options.cancel_latency,
    )
    log = CommandLog(options.state_dir / "commands.jsonl")
    try:
        venue = Venue(_market(options.market, options.seed), options.start, floor, options.seed, log)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    gate = Gate(
        options.key_id,
        options.secret_key,
        RateLimiter(options.rate_limit),
        RateLimiter(options.rate_limit),
        options.rate_clock == "wall",
    )
    with listening(options.port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                build_application(venue, gate), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
            )
        )
        state = {
            "port": listener.getsockname()[1],
            "market": venue.exchange.tape.market.label,
            "now": venue.exchange.now.isoformat(),
        }
        print(json.dumps(state), flush=True)
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
