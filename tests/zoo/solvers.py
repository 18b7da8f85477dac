"""Every solver. To add one, write one entry in METHODS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, SGD, Adafactor, Adam, AdamW, NAdam, RMSprop

from reddiff import solvers
from reddiff.optim import MakeOptimizer, cosine_lr, harmonic_lr
from reddiff.schedules import constant, flow, geometric, karras, vp
from reddiff.solvers import inits, orders
from reddiff.solvers.steps.conditional import PerturbAndSolve
from reddiff.solvers.steps.mcmc import HMC, Langevin
from reddiff.solvers.steps.spread import White
from reddiff.solvers.variants import Variant
from reddiff.solvers.weightings import WEIGHTINGS
from zoo.tensors import randn


@dataclass(frozen=True)
class SolverCase:
    """A solver of so many steps."""

    name: str
    build: Callable[[int], solvers.Solver[Any]]
    blind: bool = False  # it never looks at y

    def make(self, steps: int) -> solvers.Solver[Any]:
        """The solver."""
        return self.build(steps)


def _reddiff(**settings: Any) -> Callable[[int], solvers.REDDiff]:
    return lambda steps: solvers.REDDiff(vp(steps), **settings)


def _with(optimizer: MakeOptimizer, **settings: Any) -> Callable[[int], solvers.REDDiff]:
    return _reddiff(optimizer=optimizer, **settings)


SGD_OPTIMIZER = partial(SGD, lr=0.02, momentum=0.9)
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adam-amsgrad": partial(Adam, lr=0.1, amsgrad=True),
    "adamw": partial(AdamW, lr=0.1, weight_decay=0.01),
    "adamw-foreach": partial(AdamW, lr=0.1, foreach=True),
    "sgd": SGD_OPTIMIZER,
    "rmsprop": partial(RMSprop, lr=0.02, momentum=0.5, centered=True),
    "nadam": partial(NAdam, lr=0.1),
    "adafactor": partial(Adafactor, lr=0.1),
    "lbfgs": partial(LBFGS, lr=0.05, max_iter=1, history_size=3),
}


def _embed(x: Tensor) -> Tensor:
    """A fixed map to three features."""
    return torch.tanh(x.flatten(1) @ randn(x[0].numel(), 3, seed=44).to(x))


def _repulsive(steps: int) -> solvers.RSD:
    """RSD with everything on, and an optimizer that depends on the shape of its parameters."""
    return solvers.RSD(
        karras(steps, 0.02, 20.0),
        optimizer=partial(Adafactor, lr=0.1),
        order=orders.random,
        draws=2,
        sigma_q=0.1,
        learn_sigma_q=True,
        start=inits.noise,
        particles=2,
        gamma=3.0,
        features=_embed,
    )


PEERS = [
    SolverCase("ddim", lambda n: solvers.DDIM(vp(n)), blind=True),
    SolverCase("ddpm", lambda n: solvers.DDIM.ddpm(n), blind=True),
    SolverCase("heun", lambda n: solvers.Heun.edm(n), blind=True),
    SolverCase("dps", lambda n: solvers.DPS.paper(n)),
    SolverCase("ddrm", lambda n: solvers.DDRM.paper(n)),
    SolverCase("ddnm", lambda n: solvers.DDNM.paper(n)),
    SolverCase("ddnm-plus", lambda n: solvers.DDNMPlus.paper(n)),
    SolverCase("diffpir", lambda n: solvers.DiffPIR.paper(n)),
    SolverCase("diffpir-covariance", lambda n: solvers.DiffPIR(vp(n), error_covariance=True)),
    SolverCase("red-fixed-point", lambda n: solvers.RED(constant(n, 0.4), 6.0)),
    SolverCase("red-accelerated", lambda n: solvers.RED(constant(n, 0.4), 6.0, accelerated=True)),
    SolverCase("pnp-hqs", lambda n: solvers.PnPHQS.paper(n)),
    SolverCase("pnp-admm", lambda n: solvers.PnPADMM(geometric(n, 0.2, 1.0))),
    SolverCase("rsd", lambda n: solvers.RSD(vp(n), particles=3)),
    SolverCase("rsd-features", _repulsive),
    SolverCase("mcg", lambda n: solvers.MCG.paper(n)),
    SolverCase("pigdm", lambda n: solvers.PiGDM.paper(n)),
    SolverCase("pigdm-covariance", lambda n: solvers.PiGDM(karras(n), error_covariance=True)),
    SolverCase("mmps", lambda n: solvers.MMPS(karras(n), iterations=3)),
    SolverCase("jfps", lambda n: solvers.JFPS(karras(n), White(1.0))),
    SolverCase("jfps-default", lambda n: solvers.JFPS.default(n)),
    SolverCase("mmps-paper", lambda n: solvers.MMPS.paper(n)),
    SolverCase("tmpd", lambda n: solvers.TMPD(karras(n))),
    SolverCase("tmpd-paper", lambda n: solvers.TMPD.paper(n)),
    SolverCase("tds", lambda n: solvers.TDS.default(n)),
    SolverCase("tds-always", lambda n: solvers.TDS(karras(n, 0.01, 20.0), 5, threshold=1.0)),
    SolverCase("daps", lambda n: solvers.DAPS(karras(n, 0.1, 10.0), Langevin(8))),
    SolverCase("daps-exact", lambda n: solvers.DAPS(karras(n, 0.1, 10.0), PerturbAndSolve())),
    SolverCase(
        "daps-covariance",
        lambda n: solvers.DAPS(
            karras(n, 0.1, 10.0), PerturbAndSolve(), ode_steps=1, error_covariance=True
        ),
    ),
    SolverCase("daps-paper", lambda n: solvers.DAPS.paper(n, tau=0.3)),
    SolverCase("pnpdm", lambda n: solvers.PnPDM.paper(n, average=2)),
    SolverCase("pnpdm-annealed", lambda n: solvers.PnPDM.annealed(n, rho_min=0.1, average=2)),
    SolverCase(
        "pnpdm-hmc",
        lambda n: solvers.PnPDM(geometric(n, 0.2, 2.0), HMC(steps=2, leapfrog=3), evaluations=3),
    ),
    SolverCase("sitcom", lambda n: solvers.SITCOM.paper(n, inner=5)),
    SolverCase("ula", lambda n: solvers.ULA(geometric(n, 0.3, 2.0))),
]

METHODS = [
    SolverCase("default", _reddiff()),
    SolverCase("paper", lambda n: solvers.REDDiff.paper(n)),
    SolverCase("paper-sigma-q", lambda n: solvers.REDDiff.paper(n, lr=0.25, sigma_q=1e-4)),
    SolverCase("red", lambda n: solvers.REDDiff.red(n, 0.2, weight=1.0, optimizer=SGD_OPTIMIZER)),
    SolverCase(
        "sds",
        lambda n: solvers.REDDiff.sds(vp(n), optimizer=partial(Adam, lr=0.05), order=orders.random),
    ),
    SolverCase("nats", _reddiff(nats=True, weight=3.0)),
    SolverCase("draws", _reddiff(draws=3)),
    SolverCase("sigma-q", _reddiff(sigma_q=0.2)),
    SolverCase("sigma-q-learned", _reddiff(sigma_q=0.2, learn_sigma_q=True, weight=5.0)),
    SolverCase(
        "everything",
        lambda n: solvers.REDDiff(
            karras(n, 0.02, 20.0),
            optimizer=partial(NAdam, lr=0.05),
            lr_schedule=cosine_lr,
            weighting=WEIGHTINGS["sqrt"],
            order=orders.stratified,
            draws=2,
            sigma_q=0.1,
            learn_sigma_q=True,
            start=inits.noise,
            nats=True,
            variant=Variant(means=True, lag=True),
        ),
    ),
    *PEERS,
    SolverCase("noise-aware", lambda n: solvers.NoiseAwareREDDiff.default(n)),
    SolverCase("noise-aware-mean", lambda n: solvers.NoiseAwareREDDiff.default(n, realism=0.0)),
    SolverCase("flow", lambda n: solvers.REDDiff(flow(n), lr_schedule=harmonic_lr)),
]

SETTINGS = [  # the default in all but one setting
    *[
        SolverCase(f"weighting-{name}", _reddiff(weighting=w))
        for name, w in WEIGHTINGS.items()
        if name != "linear"  # the default
    ],
    *[
        SolverCase(f"order-{name}", _reddiff(order=order))
        for name, order in orders.ORDERS.items()
        if name != "descending"  # the default
    ],
    *[SolverCase(f"optimizer-{name}", _with(make)) for name, make in OPTIMIZERS.items()],
    SolverCase(
        "optimizers-learned-lbfgs",
        _with(OPTIMIZERS["lbfgs"], sigma_q=0.2, learn_sigma_q=True, weight=5.0),
    ),
    SolverCase("start-adjoint", _reddiff(start=inits.adjoint)),
    SolverCase("start-zeros", _reddiff(start=inits.zeros)),
    SolverCase("start-noise", _reddiff(start=inits.noise)),
    SolverCase("start-given", _reddiff(start=inits.Given(randn(1, 6, seed=40)))),
]

SOLVERS = [*METHODS, *SETTINGS]
