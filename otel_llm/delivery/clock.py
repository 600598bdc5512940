"""Time as couriers see it."""

import time


class Clock:
    """
    The machine's clock; a test may give a faster one.
    """

    def monotonic(self) -> float:
        """
        Give seconds that never jump.
        """
        return time.monotonic()

    def time(self) -> float:
        """
        Give seconds since 1970.
        """
        return time.time()

    def real(self, seconds: float) -> float:
        """
        Give the event loop's seconds for so many of this clock.
        """
        return seconds
