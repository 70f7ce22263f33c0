"""One report an item, from a worker to its parent: the records have all else.

pytest announces an item, reports its set-up, its call and its tear-down, and takes leave of it:
five messages, of which the parent of `bn1d run` needs one, to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run an item as pytest does, and report it once."""
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    item.ihook.pytest_runtest_logreport(report=telling(reports))
    return True


def telling(reports: Iterable[pytest.TestReport]) -> pytest.TestReport:
    """Return the first that did not pass, else the last."""
    *early, last = reports
    return next((report for report in early if not report.passed), last)
