"""
An application that gevent patches while we load.
"""

import subprocess
import sys

PROGRAM = """
from otel_llm.pricing.book import PriceBook
book = PriceBook()
book.load_in_background()
from gevent import monkey
monkey.patch_all()
print(book.ready)
"""


def test_the_price_book_is_there_before_threads_are_patched():
    """
    The import in the background has ended when gevent patches the locks that it holds.
    """
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
