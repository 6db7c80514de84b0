"""Runs one Lambda function inside its own process: imports the handler once, then answers one JSON line with one JSON line.

The interpreter is started without the host's packages; the path holds the function, its layers, and what the Lambda runtime
itself ships (boto3). A raised exception is reported and the process stays, as on AWS. Uses the standard library only.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO, TextIO


class Tee(io.TextIOBase):
    """The function's stdout and stderr: kept for the answer and written to the function's log at once."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._kept: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._kept.append(text)
        return self._target.write(text)

    def flush(self) -> None:
        self._target.flush()

    def take(self) -> str:
        """What was written since the last time."""
        text, self._kept = "".join(self._kept), []
        return text


class Context:
    """What a handler is told about its invocation."""

    def __init__(self, invocation: dict[str, Any], timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self.aws_request_id = invocation["request_id"]
        self.invoked_function_arn = invocation["arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's time-out."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def end_with_parent(parent: int) -> None:
    """A handler that is busy when the server dies must not go on."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def serve(requests: BinaryIO, replies: BinaryIO, log: Tee) -> None:
    """Answer until the server closes the pipe."""
    settings = json.loads(requests.readline())
    sys.path[:0] = settings["path"]
    try:
        module, name = settings["handler"].rsplit(".", 1)
        handler = getattr(importlib.import_module(module.replace("/", ".")), name)
    except Exception as error:  # noqa: BLE001 - whatever the import raised is the answer
        traceback.print_exc()
        reply(replies, status="error", error=f"{type(error).__name__}: {error}", trace=traceback.format_exc(), log=log.take())
        return
    gc.freeze()  # what was imported stays; collecting it again and again would cost a tenth of the time
    reply(replies, status="ready")
    for line in requests:
        invocation = json.loads(line)
        try:
            result = handler(invocation["event"], Context(invocation, settings["timeout_s"]))
            answer: dict[str, object] = {"status": "ok", "result": result}
            json.dumps(answer)
        except Exception as error:  # noqa: BLE001 - whatever the handler raised is the answer
            traceback.print_exc()
            answer = {"status": "error", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        log.flush()
        reply(replies, **answer, log=log.take())


def reply(replies: BinaryIO, **answer: object) -> None:
    """Send one line."""
    replies.write(json.dumps(answer).encode() + b"\n")
    replies.flush()


def main() -> None:
    """Keep stdout for the answers, and give the function one that ends up in its log."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr = log = Tee(os.fdopen(os.dup(2), "w", buffering=1, errors="replace"))
    threading.Thread(target=end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, replies, log)


if __name__ == "__main__":
    main()
