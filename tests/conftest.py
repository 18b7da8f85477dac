"""What every test shares: one thread, the device axis, hypothesis, and the table of measurements.

Nothing here makes float64 the default: the tests name their dtype, so that a number that passes
through the default float32 on its way is seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "reddiff",
    deadline=None,
    max_examples=20,
    derandomize="CI" in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("reddiff")
torch.set_num_threads(1)

MEASURED = "measured"
collect_ignore = ["deepinv"]  # it has a venv of its own: `make test-deepinv`


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)], scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where a test runs: on the CPU, and once more on a GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def measure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Take down one line for the table of measured numbers that ends the report."""
    return lambda line: record_property(MEASURED, line)


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device: torch.cuda.is_available() is false")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write what the tests measured."""
    reports = [r for r in terminalreporter.getreports("passed") if r.when == "call"]
    lines = [v for r in reports for k, v in r.user_properties if k == MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(str(line))
