"""Names in a spec that refer to other parts of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reddiff.bench.measures import COSTS
from reddiff.bench.spec import METRICS, Expectation, Solver, Spec
from reddiff.errors import require, require_name

UNJUDGED = (
    "frechet",
    "kernel",
    "psnr_oracle",
)  # not for `expect`: computed from sets, or selected with the truth


def check_names(spec: Spec) -> None:
    """Check that references in the spec name existing parts.

    Raises:
        InvalidArgument: If one does not; the message has the key and the closest name.
    """
    for metric in spec.metrics:
        require_name(metric, METRICS, "metrics", "a metric")
    for i, expectation in enumerate(spec.expect):
        where = f"expect[{i}]"
        _check_solvers(spec.solvers, expectation, where)
        pair = expectation.better is not None and expectation.than is not None
        bound = expectation.least is not None or expectation.most is not None
        good = pair != (expectation.solver is not None and bound)
        expected = "better and than, or solver with least or most"
        require(good, where, expected=expected, got=f"{sorted(expectation.model_fields_set)}")
        require_name(expectation.task, ("all", *spec.tasks), f"{where}.task", "a task of the spec")
        known = [m for m in (*METRICS, *COSTS) if m not in UNJUDGED]
        require_name(expectation.metric, known, f"{where}.metric", "a metric")
    for label, solver in spec.solvers.items():
        for task in solver.per_task:
            require_name(task, spec.tasks, f"solvers.{label}.per_task", "a task of the spec")


def _check_solvers(known: Mapping[str, Solver], expectation: Expectation, where: str) -> None:
    names: Sequence[tuple[str, str | None]] = (
        ("better", expectation.better),
        ("than", expectation.than),
        ("solver", expectation.solver),
    )
    for key, name in names:
        if name is not None:
            require_name(name, known, f"{where}.{key}", "a solver of the spec")
