"""What every test shares: one thread, the device axis, hypothesis, and the table of measurements.

Nothing here makes float64 the default: the tests name their dtype, so that a number that passes
through the default float32 on its way is seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any
from zlib import crc32

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings

import room
import seeds
from long import is_long

settings.register_profile(
    "reddiff",
    deadline=None,
    max_examples=20,
    derandomize="CI" in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("reddiff")
torch.set_num_threads(int(os.environ.get("REDDIFF_TEST_THREADS", "1")))

_jaxtyped = jaxtyping.jaxtyped


def _checked_once(*, typechecker: Any) -> Callable[[Any], Any]:
    """What jaxtyping's import hook decorates with, for all but functions inside functions.

    Those are made at each call of the outer one, and writing and compiling their checks each time
    takes most of the time of a short run. No shape is annotated in any of them.
    """
    decorate = _jaxtyped(typechecker=typechecker)
    return lambda made: made if "<locals>" in made.__qualname__ else decorate(made)


jaxtyping.jaxtyped = _checked_once

MEASURED = "measured"
# In venvs of their own: `make test-deepinv` and so on.
collect_ignore = ["deepinv", "diffusers", "peers", "ray"]


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)][: 1 + torch.cuda.is_available()]


@pytest.fixture(params=DEVICES, scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where a test runs: on the CPU, and once more on a GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def untyped() -> None:
    """For a run without the run-time type checks, as outside pytest.

    Tests use it for wrong types, which so reach our own errors, and for runs of many short steps,
    which the checks make several times slower.
    """


@pytest.hookimpl(tryfirst=True)  # before the fixtures of a module, which run solvers too
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check types in the unit tests and in laws marked typed, which run every solver.

    Not in all other laws, command lines and fuzzers, which the checks make several times slower.
    """
    typed = item.get_closest_marker("typed") is not None
    slower = item.path.parent.name in {"laws", "cli", "fuzz"} and not typed
    off = slower or "untyped" in getattr(item, "fixturenames", ())
    jaxtyping.config.update("jaxtyping_disable", off)


@pytest.fixture
def measure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Take down one line for the table of measured numbers that ends the report."""
    return lambda line: record_property(MEASURED, line)


def pytest_addoption(parser: pytest.Parser) -> None:
    """--room FILE, documented in `room.py`, and --part."""
    parser.addoption("--room", help="append the room that each bound has to this file")
    parser.addoption("--part", metavar="I/N", help="run the I-th of N parts of the tests, by name")


def pytest_configure(config: pytest.Config) -> None:
    """Set up what --room asks for."""
    if path := config.getoption("--room"):
        about = {
            "seed": str(seeds.OTHER),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": str(torch.get_num_threads()),
        }
        recorder = room.Recorder(Path(path), about)
        recorder.watch()
        config.pluginmanager.register(recorder, "room")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Torch's own generator starts alike in every test."""
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)  # before `-m` is applied
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the long cases, and leave out those of other parts."""
    for item in items:
        if is_long(item.nodeid):
            item.add_marker(pytest.mark.slow)
    if part := config.getoption("--part"):
        number, parts = map(int, part.split("/"))
        mine = [crc32(item.nodeid.encode()) % parts == number - 1 for item in items]
        config.hook.pytest_deselected(items=list(compress(items, map(not_, mine))))
        items[:] = compress(items, mine)
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device: torch.cuda.is_available() is false")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(skip)


def pytest_report_header() -> str:
    """Say where the tests with a device run."""
    return f"devices: {'cpu, cuda' if torch.cuda.is_available() else 'cpu (no CUDA device)'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write what the tests measured."""
    reports = [r for r in terminalreporter.getreports("passed") if r.when == "call"]
    lines = [v for r in reports for k, v in r.user_properties if k == MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(str(line))
