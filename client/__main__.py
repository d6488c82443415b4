"""`python -m client FILE…`: the program of `client.program`.

Loading it takes a moment. Ctrl-C or SIGTERM ends that, too, and without an exception: an extension
module that is just being loaded need not survive one.
"""

import os
import sys

EXIT_INTERRUPTED = 130


def run() -> int:
    """Load the program and run it; the result is its exit code."""
    try:
        import signal

        ends = (signal.SIGINT, signal.SIGTERM)
        for number in ends:
            signal.signal(number, _leave)
        from client.program import main

        for number in ends:
            signal.signal(number, signal.default_int_handler)
        return main()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _leave(*_: object) -> None:
    """At once: nothing was begun that would have to be ended."""
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(run())
