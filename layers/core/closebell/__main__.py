"""`closebell`, and `python -m closebell`."""

import signal


def main() -> None:
    """Run a command. An interrupt while the commands are still being loaded ends it at once and without a traceback."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # a shell's background has interrupts ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from closebell.cli import app

    signal.signal(signal.SIGINT, heard)
    app()


if __name__ == "__main__":
    main()
