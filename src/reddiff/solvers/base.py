"""What the loop knows of a solver: a line before the `for`, and its body."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_origin

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reddiff.errors import InvalidArgument, Unsupported
from reddiff.noise import Gaussian, Noise, UnknownGaussian
from reddiff.operators.base import Operator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, in_words
from reddiff.snapshot import Tree
from reddiff.snapshot.state import dumped, loaded, selected

S = TypeVar("S")


class StepCost(NamedTuple):
    """What one step costs in each lane.

    Arguments:
        evaluations: Network evaluations.
        vjps: Backward passes through the network.
    """

    evaluations: int = 1
    vjps: int = 0


@dataclass(frozen=True)
class Solver(ABC, Generic[S]):
    """Hyper-parameters and a few functions; holds nothing that changes.

    Arguments:
        schedule: The noise levels, K of them.
    """

    schedule: Schedule

    requires: ClassVar[type[Operator]] = Operator  # the operators the method is defined for
    noises: ClassVar[type[Noise]] = Noise  # the noises it is defined for
    has_fixed_point: ClassVar[bool] = True  # the estimate stands still at the end of a good run
    estimates_noise: ClassVar[bool] = False  # whether it takes UnknownGaussian
    _state: ClassVar[type[Any] | None] = None  # the S of Solver[S]: a `State`, or a tensor

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__dict__.get("__orig_bases__", ()):
            arguments = [a for a in get_args(base) if isinstance(a, type)]
            if arguments and issubclass(get_origin(base), Solver):
                cls._state = arguments[0]

    @property
    def steps(self) -> int:
        """How many steps a run makes: one per level, unless a method walks some levels again."""
        return len(self.schedule)

    @property
    def cost(self) -> StepCost:
        """What a step costs: one evaluation, unless a method says otherwise."""
        return StepCost()

    @property
    def draws_posterior(self) -> bool:
        """Whether a run ends at a draw from the posterior, as well as the method can.

        Where it does not, the spread of several runs is not the uncertainty of x, and `solve` says
        so of `runs` above 1.
        """
        return False

    def prepare(self, problem: Problem) -> Problem:
        """The problem that `init` and `step` are given, made once per run; the same by default."""
        return problem

    @abstractmethod
    def init(self, problem: Problem, prior: Prior, rng: Rng) -> S:
        """The line before the `for`."""

    @abstractmethod
    def step(self, state: S, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng) -> S:
        """The body of the `for`: from step k to step k + 1. The state given stays as it was."""

    @abstractmethod
    def estimate(self, state: S) -> Float[Tensor, "b *n"]:
        """The x that a state stands for."""

    def sample(self, state: S, n: int, rng: Rng) -> Float[Tensor, "b n *m"]:
        """n draws from the distribution that a state stands for; for variational solvers.

        Raises:
            Unsupported: If the solver has no such distribution.
        """
        raise Unsupported(f"{type(self).__name__}: expected a variational solver for `sample`")

    def warnings(self, state: S) -> list[tuple[str, ...]]:
        """What the user should know of each lane, such as an inner solve that did not converge.

        Returns:
            Sentences for every lane of the state, without full stops; an empty list (the default)
            if there is nothing to say of any.
        """
        return []

    def dump(self, state: S) -> Tree:
        """The state as a tree: dicts of lane-first tensors and of lists with one entry per lane."""
        return dumped(state)

    def load(self, tree: Tree) -> S:
        """The state whose `dump` this is.

        Raises:
            TypeError: If the solver does not name the type of its state, as `Solver[MyState]`.
        """
        if self._state is None:
            raise TypeError(f"{type(self).__name__}: expected a base Solver[...] of its state")
        state: S = loaded(self._state, tree)
        return state

    def select(self, state: S, index: Tensor) -> S:
        """The state of some of the lanes."""
        return selected(state, index)

    def noise_level(self, state: S) -> Float[Tensor, " b"] | None:
        """Sigma of the Gaussian noise of y as the state has it; None where it is not estimated."""
        return None

    def needs_density(self) -> bool:
        """Whether the method needs a likelihood in nats, so that sigma_y = 0 is no limit of it."""
        return False

    def check(self, problem: Problem, prior: Prior) -> None:
        """Refuse what the method is not defined for, before any work.

        Raises:
            Unsupported: If operator or noise are of a kind the method has no theory for.
            InvalidArgument: If the schedule leaves the levels the prior is good for.
        """
        name = type(self).__name__
        for what, value, wanted in (
            ("operator", problem.operator, self.requires),
            ("noise", problem.noise, self.noises),
        ):
            if not isinstance(value, wanted):
                got = type(value).__name__
                raise Unsupported(f"{name}: expected {what} of type {wanted.__name__}, got {got}")
        noise = problem.noise
        if self.needs_density() and isinstance(noise, Gaussian) and noise.noiseless:
            raise Unsupported(f"{name}: expected noise with sigma > 0, got sigma = 0")
        if isinstance(noise, UnknownGaussian) and not self.estimates_noise:
            raise Unsupported(f"{name}: expected noise of a known level, got UnknownGaussian")
        if not self.schedule.inside(prior.sigma_min, prior.sigma_max):
            s = self.schedule.levels[:-1]
            given = float(s.min()), float(s.max())
            good, got = in_words((prior.sigma_min, prior.sigma_max), given)
            expected = (
                f"levels sigma / alpha within the prior's {good} (schedule.restrict cuts them)"
            )
            raise InvalidArgument("schedule", expected=expected, got=got)

    def fitted(self, prior: Prior) -> Solver[S]:
        """The solver for a prior: presets take the levels that it is good for.

        Other schedules stay as they are, and `check` refuses those that leave the prior's range.

        Raises:
            InvalidArgument: If a preset has no level that the prior is good for.
        """
        schedule = self.schedule.within(prior.sigma_min, prior.sigma_max)
        return self if schedule is self.schedule else replace(self, schedule=schedule)

    def to(self, device: torch.device) -> Solver[S]:
        """The solver with its schedule on another device."""
        return replace(self, schedule=self.schedule.to(device))


def unsolved(solved: Bool[Tensor, " b"]) -> list[tuple[str, ...]]:
    """`Solver.warnings` of solvers whose data step is solved to a tolerance, or is not."""
    text = "not converged: the last data step did not reach its tolerance"
    return [() if ok else (text,) for ok in solved.tolist()]


Preset = TypeVar("Preset", bound=Solver[Any])


def preset_for(prior: Prior | None, solver: Preset) -> Preset:
    """`solver.fitted(prior)`, or the solver as it is where no prior is given."""
    made: Any = solver if prior is None else solver.fitted(prior)
    return made
