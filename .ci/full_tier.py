"""
A pytest plugin for the full tier: what a slow test looks for, a server, a tool, a package, and does not find fails it.
"""  # noqa: INP001 - no package, a plugin found by its folder

from collections.abc import Generator

import pytest

Report = pytest.TestReport


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Report, Report]:
    """
    Turn a slow test that skips itself into a failed one; `skipif` marks, for platforms, stay what they are.
    """
    report = yield
    slow = any(item.get_closest_marker(name) for name in ("slow", "server"))
    if slow and report.skipped and call.excinfo is not None and not any(item.iter_markers("skipif")):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped itself: {call.excinfo.value}"
    return report
