"""A solver for deepinv's public benchmarks (https://github.com/deepinv/benchmarks), both ways in.

To measure it, install `deepinv_bench` as described there; it downloads the images of a benchmark:

    python examples/deepinv_benchmark.py div2k_inpainting_easy

For the leaderboard, a pull request adds this file as `solvers/reddiff.py` to the folder of a
benchmark there: its runner takes the class `Solver`.
"""

import sys

import torch
from benchopt import BaseSolver

import reddiff
from reddiff.interop.deepinv import Reconstructor
from reddiff.priors import photo_prior
from reddiff.solvers import NoiseAwareREDDiff


def make_model(steps: int = 50) -> Reconstructor:
    """model(y, physics) -> x in [0, 1], without settings for any benchmark."""
    model = reddiff.as_reconstructor(NoiseAwareREDDiff.default(steps), photo_prior())
    model.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(model.device)


class Solver(BaseSolver):
    """What the leaderboard runs."""

    name = "reddiff"
    requirements = ["pip::reddiff"]  # noqa: RUF012  # as benchopt reads it
    parameters = {"steps": [50]}  # noqa: RUF012
    test_config = {"steps": 2}  # noqa: RUF012

    def set_objective(self, train_dataset=None, physics=None):
        self.model = make_model(self.steps)

    def run(self, _):
        pass  # the benchmark calls the model itself

    def get_result(self):
        return {"model": self.model}


if __name__ == "__main__":
    from deepinv_bench import run_benchmark

    print(run_benchmark(make_model(), sys.argv[1], "reddiff"))
