"""`python -m client FILE…`: the program of `client.program`.

Loading it takes a moment. Ctrl-C or SIGTERM ends that, too, without a traceback.
"""

import sys

EXIT_INTERRUPTED = 130


def run() -> int:
    """Load the program and run it; the result is its exit code."""
    try:
        import signal

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from client.program import main

        return main()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(run())
