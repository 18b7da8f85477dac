"""The spec of a benchmark, as written in YAML."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reddiff.bench.exact_priors import FieldPrior, MixturePrior, Part, WalkPrior

METRICS = (
    *("psnr", "ssim", "lpips", "top1", "frechet", "kernel", "residual"),
    *("spread", "coverage_90", "exact_rmse", "psnr_oracle"),
)
UNHASHED = {"name", "summary", "images", "batch", "expect", "published"}


class Prior(Part):
    """A prior: a name or file, or an exact prior. Without a source, the user has to give it."""

    source: str | None = None
    field: FieldPrior | None = None
    mixture: MixturePrior | None = None
    walk: WalkPrior | None = None

    @property
    def exact(self) -> tuple[FieldPrior | MixturePrior | WalkPrior, ...]:
        """The exact priors that are given."""
        return tuple(v for v in (self.field, self.mixture, self.walk) if v is not None)


class Images(Part):
    """The true images.

    `files` are files, folders and patterns, `photos` are photos of the package. They are resized so
    that the shorter side is `size` (only with `fit: resize`), and cropped to a square around the
    center. `drawn` is the number of images drawn from the prior instead.
    """

    files: tuple[str, ...] = ()
    photos: tuple[str, ...] | Literal["all"] = ()
    drawn: int = Field(default=0, ge=0)
    size: int | None = Field(default=None, ge=8)
    fit: Literal["crop", "resize"] = "crop"
    limit: int | None = Field(default=None, ge=1)


def _levels(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else (value,)


Noise = Annotated[float, Field(ge=0, le=1)]
Levels = Annotated[tuple[Noise, ...], BeforeValidator(_levels), Field(min_length=1)]


class Assumed(Part):
    """What the solvers are told in place of the truth.

    `noise` is the factor by which the standard deviation of the noise is wrong; `mask` and `kernel`
    take the place of those that y was measured with.
    """

    noise: float = Field(default=1.0, gt=0)
    mask: str | None = None
    kernel: str | None = None


class Task(Part):
    """A task of `reddiff restore` with its options, or one of `reddiff.bench.tasks`.

    `noise` has levels for this task alone; `preset` is the name of the task whose published
    settings hold, by default its own; `assumed` is what the solvers are told wrongly.
    """

    task: str
    mask: str | None = None
    scale: int | None = None
    kernel: str | None = None
    noise: Levels | None = None
    preset: str | None = None
    assumed: Assumed | None = None


class Solver(BaseModel):
    """A method of the catalogue with its published settings, and changes to them.

    In addition to the keys below, any field of the solver may be given. `grid` has a list of values
    for each key; the entry then stands for all combinations. `per_task` has changes for single
    tasks.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    solver: str
    steps: int | None = Field(default=None, ge=1)
    runs: int = Field(default=1, ge=1)
    keep: Literal["mean", "best"] = "mean"
    lr: float | None = Field(default=None, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    optimizer: str | None = None
    per_task: dict[str, dict[str, Any]] = {}
    grid: dict[str, list[Any]] = {}

    def changed(self, task: str) -> Solver:
        """The solver with its changes for a task."""
        changes = self.per_task.get(task, {})
        kept = self.model_dump(exclude={"per_task"}, exclude_defaults=True)
        return type(self).model_validate(kept | changes)


class Expectation(Part):
    """An expectation on the mean over images, for all priors and noise levels of the named tasks.

    Either the solver `better` is better than `than` by at least `by`, or the metric of `solver` is
    at least `least` and at most `most`.
    """

    metric: str
    better: str | None = None
    than: str | None = None
    by: float = 0.0
    solver: str | None = None
    least: float | None = None
    most: float | None = None
    task: str = "all"


class Published(Part):
    """A published number, for comparison with ours."""

    task: str
    method: str
    metric: str
    value: float
    source: str


class Spec(Part):
    """The spec of a benchmark: priors, tasks, noise levels, solvers and images."""

    name: str
    summary: str = ""
    priors: dict[str, Prior]
    images: Images = Images()
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    noise: Levels = (0.0,)
    solvers: Annotated[dict[str, Solver], Field(min_length=1)]
    metrics: tuple[str, ...] = ("psnr", "ssim", "lpips", "residual")
    seed: int = 0
    batch: int = Field(default=8, ge=1)
    expect: tuple[Expectation, ...] = ()
    published: tuple[Published, ...] = ()

    @property
    def hash(self) -> str:
        """A hash of everything that determines the results, except the images and the weights."""
        kept = self.model_dump(mode="json", exclude=UNHASHED)
        kept["priors"] = {
            # a spec without a walk, or assumptions, has the hash that it had before there were any
            name: {k: v for k, v in entry.items() if k != "source" and (v or k != "walk")}
            for name, entry in kept["priors"].items()
        }
        kept["tasks"] = {
            name: {k: v for k, v in entry.items() if v or k != "assumed"}
            for name, entry in kept["tasks"].items()
        }
        return sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]

    def noise_of(self, task: str) -> tuple[float, ...]:
        """The noise levels of a task."""
        own = self.tasks[task].noise
        return self.noise if own is None else own


def expanded(solvers: Mapping[str, Solver]) -> dict[str, Solver]:
    """The solvers with every grid expanded to one entry per combination.

    The label of a combination is the label of the grid followed by its values, such as `red-diff
    lr=0.1 weight=1`.
    """
    found: dict[str, Solver] = {}
    for label, solver in solvers.items():
        kept = solver.model_dump(exclude={"grid"}, exclude_defaults=True)
        for values in itertools.product(*solver.grid.values()):
            chosen = dict(zip(solver.grid, values, strict=True))
            words = [f"{key}={value}" for key, value in chosen.items()]
            found[" ".join([label, *words])] = Solver.model_validate(kept | chosen)
    return found
