"""The local AWS process: ministack on one loopback port, made durable, running functions in `execution_environment`.

Started by `infra.local.aws` with its settings in the environment; SIGTERM stops it in order.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app as ministack_app
from ministack.core import lambda_runtime
from ministack.services import eventbridge, scheduler

from infra.local import execution_environment
from infra.local.write_ahead import DurableApp, Receive, Send

log = logging.getLogger("closebell.aws")


async def run(folder: Path, port: int) -> None:
    """Serve until SIGTERM, then save everything and end the functions' processes."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    ministack_app.PERSIST_STATE = False  # loading and saving are DurableApp's
    # Its schedulers read the wall clock, in UTC whatever the zone; the day is the schedule runner's.
    scheduler.start_scheduler = eventbridge.start_scheduler = lambda: None
    unpacked = execution_environment.install(folder / "functions")
    durable = DurableApp(folder / "state")
    await durable.start()
    log.warning("ready on port %d; %d requests repeated", port, durable.replayed_count)
    gc.freeze()  # the restored state is large and stays
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 300
    config.graceful_timeout = 2
    config.loglevel = "WARNING"

    async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await durable(scope, receive, send)

    await serve(application, config, shutdown_trigger=stopping.wait)  # type: ignore[arg-type]  # ASGI's own types differ
    lambda_runtime.reset()
    durable.checkpoint(complete=True)
    unpacked.prune()


if __name__ == "__main__":
    asyncio.run(run(Path(os.environ["CLOSEBELL_AWS_DIR"]), int(os.environ["GATEWAY_PORT"])))
    # ministack's background threads are not all daemons.
    sys.stdout.flush()
    os._exit(0)
