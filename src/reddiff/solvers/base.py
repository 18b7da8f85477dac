"""The interface of solvers: `init` and `step`, called by the loop in `reddiff.run`."""

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
    """The cost of one step, per lane.

    Arguments:
        evaluations: Network evaluations.
        vjps: Backward passes through the network.
    """

    evaluations: int = 1
    vjps: int = 0


@dataclass(frozen=True)
class Solver(ABC, Generic[S]):
    """Base class of solvers: the hyperparameters of a method and its steps, without mutable state.

    Arguments:
        schedule: The K noise levels.
    """

    schedule: Schedule

    requires: ClassVar[type[Operator]] = Operator  # the operators that the method is defined for
    noises: ClassVar[type[Noise]] = Noise  # the noise models that it is defined for
    has_fixed_point: ClassVar[bool] = True  # whether the estimate converges within a run
    estimates_noise: ClassVar[bool] = False  # whether it accepts UnknownGaussian
    _state: ClassVar[type[Any] | None] = None  # the S of Solver[S], a `State` or a tensor

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__dict__.get("__orig_bases__", ()):
            arguments = [a for a in get_args(base) if isinstance(a, type)]
            if arguments and issubclass(get_origin(base), Solver):
                cls._state = arguments[0]

    @property
    def steps(self) -> int:
        """The number of steps of a run: one per level, unless the method revisits levels."""
        return len(self.schedule)

    @property
    def cost(self) -> StepCost:
        """The cost of a step; by default one network evaluation."""
        return StepCost()

    @property
    def draws_posterior(self) -> bool:
        """Whether the result of a run is meant as a draw from the posterior.

        If not, the spread of several runs does not measure the uncertainty of x, and `solve` warns
        if `runs` is above 1.
        """
        return False

    def prepare(self, problem: Problem) -> Problem:
        """The problem passed to `init` and `step`, computed once per run; by default unchanged."""
        return problem

    @abstractmethod
    def init(self, problem: Problem, prior: Prior, rng: Rng) -> S:
        """The initial state: the lines before the loop of the algorithm."""

    @abstractmethod
    def step(self, state: S, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng) -> S:
        """The state after step k: the body of the loop. It must not modify the given state."""

    @abstractmethod
    def estimate(self, state: S) -> Float[Tensor, "b *n"]:
        """The estimate of x in a state."""

    def sample(self, state: S, n: int, rng: Rng) -> Float[Tensor, "b n *m"]:
        """n draws from the variational distribution of a state.

        Raises:
            Unsupported: If the solver is not variational.
        """
        raise Unsupported(f"{type(self).__name__}: expected a variational solver for `sample`")

    def warnings(self, state: S) -> list[tuple[str, ...]]:
        """Warnings for the user, such as an inner solve that did not converge.

        Returns:
            For each lane, sentences without a final period; by default an empty list, if no lane
            has warnings.
        """
        return []

    def dump(self, state: S) -> Tree:
        """Convert a state to a tree: dicts of lane-first tensors and of lists with lane entries."""
        return dumped(state)

    def load(self, tree: Tree) -> S:
        """Convert the result of `dump` back to a state.

        Raises:
            TypeError: If the solver does not declare the type of its state, as in
                `Solver[MyState]`.
        """
        if self._state is None:
            raise TypeError(f"{type(self).__name__}: expected a base class Solver[State]")
        state: S = loaded(self._state, tree)
        return state

    def select(self, state: S, index: Tensor) -> S:
        """The state of the lanes at these indices."""
        return selected(state, index)

    def noise_level(self, state: S) -> Float[Tensor, " b"] | None:
        """The estimate of sigma_y in a state, in units of y; None if it is not estimated."""
        return None

    def needs_density(self) -> bool:
        """Whether the method needs the likelihood in nats, and so sigma_y > 0."""
        return False

    def check(self, problem: Problem, prior: Prior) -> None:
        """Validate that the method is defined for a problem and a prior, before a run.

        Raises:
            Unsupported: If the method is not defined for this kind of operator or noise.
            InvalidArgument: If the schedule leaves the range of the prior.
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
            raise Unsupported(f"{name}: expected noise with a known level, got UnknownGaussian")
        if not self.schedule.inside(prior.sigma_min, prior.sigma_max):
            s = self.schedule.levels[:-1]
            given = float(s.min()), float(s.max())
            good, got = in_words((prior.sigma_min, prior.sigma_max), given)
            expected = (
                f"levels sigma / alpha within the prior's {good} (schedule.restrict clips them)"
            )
            raise InvalidArgument("schedule", expected=expected, got=got)

    def fitted(self, prior: Prior) -> Solver[S]:
        """The solver with its schedule fitted to a prior.

        A preset schedule is built again within the range of the prior. Other schedules are not
        changed, and `check` refuses them if they leave that range.

        Raises:
            InvalidArgument: If a preset has no level within the range of the prior.
        """
        schedule = self.schedule.within(prior.sigma_min, prior.sigma_max)
        return self if schedule is self.schedule else replace(self, schedule=schedule)

    def to(self, device: torch.device) -> Solver[S]:
        """The solver with its schedule on another device."""
        return replace(self, schedule=self.schedule.to(device))


def unsolved(solved: Bool[Tensor, " b"]) -> list[tuple[str, ...]]:
    """`Solver.warnings` for solvers with an iterative data step, given whether it converged."""
    text = "not converged: the last data step did not reach its tolerance"
    return [() if ok else (text,) for ok in solved.tolist()]


Preset = TypeVar("Preset", bound=Solver[Any])


def preset_for(prior: Prior | None, solver: Preset) -> Preset:
    """`solver.fitted(prior)`, or the solver itself without a prior."""
    made: Any = solver if prior is None else solver.fitted(prior)
    return made
