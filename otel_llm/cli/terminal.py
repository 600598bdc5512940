"""What standard output can show."""

import os
import sys


def has_colour() -> bool:
    """
    Tell whether colours are welcome: a terminal reads, and the user did not decline (https://no-color.org).
    """
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
