"""`closebell`, and `python -m closebell`."""

import signal


def main() -> None:
    """Run a command. An interrupt while the commands are still being loaded ends it at once and without a traceback."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell's background has interrupts ignored
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from closebell.cli import app

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
