"""`make demo`: the whole desk on this machine, session after session, through the deployed functions.

    python -m infra.local.demo [--market real|synthetic] [--sessions 10] [--reset] [--folder .closebell]

What it does is in `demo_run`; here a package that is not installed becomes a message instead of a traceback.
"""

import sys

try:
    from infra.local.demo_run import main
except ModuleNotFoundError as missing:
    sys.exit(f"The demo needs the package {missing.name!r}, which this Python ({sys.executable}) has not: run `make setup`.")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
