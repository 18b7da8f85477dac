"""The priors, truths and measurements of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

import torch
from torch import Tensor

from reddiff.bench.assuming import check_assumed, measure_assumed
from reddiff.bench.exact_priors import ExactPrior
from reddiff.bench.features import FEATURE_METRICS, network
from reddiff.bench.images import Truth, drawn_truths, read_truths
from reddiff.bench.methods import DEGRADED, check_solver, make_solver
from reddiff.bench.spec import Spec
from reddiff.bench.summary import Cell
from reddiff.bench.tasks import Measured
from reddiff.errors import InvalidArgument, require
from reddiff.images.comparison import LEAST_LPIPS
from reddiff.images.devices import as_device
from reddiff.interop import door
from reddiff.metrics.pixel import WINDOW
from reddiff.priors import weights_hash
from reddiff.priors.adapting import adapted
from reddiff.priors.base import Prior
from reddiff.run.validation import check_run
from reddiff.solvers.base import Solver


class Context:
    """A spec with its images and priors, checked.

    Arguments:
        spec: The spec.
        limit: The number of images to use, from the first.
        device: The device of the priors.

    Raises:
        InvalidArgument: If a part of the spec cannot be used, before any network evaluation.
        PictureError: If an image cannot be read.
    """

    def __init__(self, spec: Spec, limit: int | None = None, device: str = "cpu") -> None:
        self.spec, self.limit, self.device = spec, limit, as_device(device)
        for label, task in spec.tasks.items():
            check_assumed(label, task)
        for label, solver in spec.solvers.items():
            check_solver(label, solver)
        for label, entry in spec.priors.items():
            given = [v for v in (entry.source, *entry.exact) if v is not None]
            expected = f"a source: --prior {label}=FILE (or photo)"
            require(len(given) == 1, f"prior {label}", expected=expected, got=len(given) or "none")
        self._measured: dict[tuple[Cell, tuple[str, ...]], Measured] = {}
        self._exact: dict[tuple[Cell, tuple[str, ...]], Tensor] = {}
        self._called: set[str] = set()
        self.prior = cache(self._prior)
        self.truths = cache(self._truths)
        self.bare_peak = cache(self._bare_peak)

    def weights(self) -> dict[str, str]:
        """The hash of the weights of every prior."""
        return {label: weights_hash(self.prior(label)) for label in self.spec.priors}

    def measured(self, cell: Cell, names: Sequence[str]) -> Measured:
        """The measurements of some images; the last ones are cached."""
        key = cell, tuple(names)
        if key not in self._measured:
            truths = [self.truths(cell.prior)[name] for name in names]
            task = self.spec.tasks[cell.task]
            found = measure_assumed(task, truths, cell.noise, self.spec.seed)
            self._measured = {key: found.to(self.device)}
        return self._measured[key]

    def exact_mean(self, cell: Cell, names: Sequence[str]) -> Tensor | None:
        """The posterior mean for some images, if the prior has it; the last ones are cached."""
        key, known = (cell, tuple(names)), _posterior(self.prior(cell.prior))
        if known is None:
            return None
        if key not in self._exact:
            self._exact = {key: known.posterior(self.measured(cell, names).problem).mean}
        return self._exact[key]

    def solver(self, cell: Cell, label: str, measured: Measured) -> Solver[object] | None:
        """The solver of an entry; None for the degraded picture itself.

        Raises:
            InvalidArgument: If a setting cannot be used.
            Unsupported: If the solver is not defined for this problem.
        """
        entry, problem = self.spec.solvers[label], measured.problem
        if entry.solver == DEGRADED:
            return None
        prior = self.fitting(cell.prior, problem.x_shape)
        made = make_solver(label, entry, cell.task, measured.preset, prior, problem).fitted(prior)
        ids = tuple(range(len(problem)))
        check_run(problem.whitened().simplified(), prior, made, ids, entry.runs)
        return made

    def fitting(self, label: str, shape: tuple[int, ...]) -> Prior:
        """The prior for x of a shape."""
        return adapted(self.prior(label), shape)

    @cached_property
    def _files(self) -> list[Truth]:
        return read_truths(self.spec.images, self.limit)

    def _truths(self, label: str) -> dict[str, Truth]:
        images = self.spec.images
        drawn = bool(images.drawn)
        found = drawn_truths(self.prior(label), images, self.limit) if drawn else self._files
        self._check_metrics(label, found)
        return {truth.name: truth for truth in found}

    def _check_metrics(self, label: str, truths: Sequence[Truth]) -> None:
        """Raise InvalidArgument if a metric needs larger images or an exact prior."""
        drawn = bool(self.spec.images.drawn)
        least = {"ssim": WINDOW, "lpips": LEAST_LPIPS}
        for name in (m for m in self.spec.metrics if m in least):
            for truth in truths:
                h, w = truth.pixels.shape[-2:]
                expected = f"none of {name}, which takes images of {least[name]} pixels and more"
                good = min(h, w) >= least[name]
                require(good, "metrics", expected=expected, got=f"{truth.name} of {w}x{h}")
        seen = [name for name in ("lpips", *FEATURE_METRICS) if name in self.spec.metrics]
        expected = f"none of {', '.join(seen)} for drawn images"
        require(not (drawn and seen), "metrics", expected=expected, got=", ".join(seen))
        if set(FEATURE_METRICS) & set(seen):
            network()
        exact = "exact_rmse" not in self.spec.metrics or _posterior(self.prior(label)) is not None
        expected = "exact_rmse for field, mixture and walk priors only"
        require(exact, "metrics", expected=expected, got=f"exact_rmse, and the prior {label}")

    def _prior(self, label: str) -> Prior:
        entry = self.spec.priors[label]
        for exact in entry.exact:
            return exact.make(self.spec.images.size).to(self.device)
        try:
            return door.prior(entry.source).to(self.device)
        except InvalidArgument as error:
            where = f"prior {label}"
            raise InvalidArgument(where, expected=error.expected, got=error.got) from error

    def _bare_peak(self, label: str, shape: tuple[int, ...], vjp: bool) -> int:
        """The memory of one call of the network on a batch `(b, ...)`, in bytes."""
        from reddiff.run.cost import PeakMemory

        prior = self.fitting(label, shape[1:])
        x, s = trial(prior, shape, self.device)
        if label not in self._called:  # allocations of the first call
            call(prior, x[:1], s[:1], vjp=False)
            self._called.add(label)
        memory = PeakMemory(self.device)
        call(prior, x, s, vjp=vjp)
        return memory.peak() or 0


def trial(prior: Prior, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """An input for timing the network: zeros `(b, ...)`, and a level."""
    x = torch.zeros(shape, dtype=prior.dtype or torch.float32, device=device)
    return x, x.new_full((len(x),), min(max(0.5, prior.sigma_min), prior.sigma_max))


def call(prior: Prior, x: Tensor, s: Tensor, *, vjp: bool) -> Tensor:
    """One evaluation of the network, optionally with a backward pass."""
    if not vjp:
        with torch.inference_mode():
            return prior(x, s)
    denoised, pullback = prior.vjp(x, s)
    return pullback(torch.ones_like(denoised))


def _posterior(prior: Prior) -> ExactPrior | None:
    return prior if isinstance(prior, ExactPrior) else None
