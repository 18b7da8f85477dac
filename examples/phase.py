"""Phase retrieval with restarts: a picture from one coded diffraction pattern.

Only the modulus y = |F (m x)| is measured, of x times the random phases of a code m: as many
numbers as pixels. x and -x have the same y, so the result is aligned with the truth before they
are compared. Starts differ, and so may answers: `runs=3` runs three, and `best` is the one
that explains y best. Without a code it is far harder: from `PhaseRetrieval(2.0)`, best of 4, the
same prior makes 20 dB, the head and few of its details.
"""

from common import noisy, output, report, save
from heads import learn, slices
from torch import Tensor

import reddiff
from reddiff.operators import CodedDiffraction, uniform_codes
from reddiff.units import to_pixels

NOISE = 0.01  # relative to the rms of y


def aligned(x: Tensor, truth: Tensor) -> Tensor:
    """x in [0, 1] or its negative, whichever is nearer to the truth."""
    return min((x, 1 - x), key=lambda p: float((p - truth).square().sum()))


path = output("phase.png")
truth, others = slices(24)
operator = CodedDiffraction(uniform_codes(1, (128, 128)).float())
x = 2 * truth - 1
clean = operator(x)
sigma = NOISE * float(clean.square().mean().sqrt())
problem = reddiff.Problem(noisy(clean, sigma), operator, reddiff.Gaussian(sigma))

prior = learn(others, lambda p: 2 * p - 1)
result = reddiff.solve(problem, prior, runs=3)

print("residual ratios of the runs:", *(f"{r:.2f}" for r in result.residual_ratio[0].tolist()))
projections = aligned(to_pixels(problem.initial_estimate()), truth)
restored = aligned(to_pixels(result.best), truth)
report(truth, result, projections=projections, reddiff=restored)
save(path, truth, projections=projections, reddiff=restored)
