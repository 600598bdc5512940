"""
What gevent calls before it patches a module of the standard library.

An import that is under way in a thread while `threading` is patched ends in locks that nobody can release. The price
book is imported in the background, so it has to be there first.
"""

import sys


def will_patch(_event: object) -> None:
    """
    Wait until the price book is loaded, where it is being loaded.
    """
    book = sys.modules.get("otel_llm.pricing.book")
    if book is not None:
        book.wait_for_loading()
