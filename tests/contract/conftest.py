"""
What contract tests need besides a provider and telemetry: a garbage collector that is quick.
"""

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def _quick_collections():
    """
    Keep the imported SDKs, hundreds of thousands of objects, out of each collection that a test asks for.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
