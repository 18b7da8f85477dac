"""Parallel MRI, sped up six times: a head from 8 coils and 1 of 6 lines of the Fourier plane.

x is complex, two channels (Re, Im): the slice of Colin27 with a smooth random phase, as field
inhomogeneity gives it. The prior has seen other slices with other phases.
"""

import math

import torch
from common import noisy, output, report, save
from heads import learn, slices

import reddiff
from reddiff.operators import MultiCoilMRI, birdcage_maps, cartesian_mask

COILS, SIZE, ACCELERATION, SIGMA = 8, (128, 128), 6, 0.01


def phased(p: torch.Tensor) -> torch.Tensor:
    """Magnitudes (b, 1, h, w) with smooth random phases, (b, 2, h, w)."""
    place = torch.linspace(-1, 1, p.shape[-1])
    u, v = place[:, None], place
    terms = torch.stack([torch.ones(SIZE), u.expand(SIZE), v.expand(SIZE), u * v, u**2 - v**2])
    phase = torch.einsum("bk,khw->bhw", 0.6 * (torch.rand(len(p), 5) - 0.5), terms)[:, None]
    return torch.cat([p * phase.cos(), p * phase.sin()], 1)


def modulus(x: torch.Tensor) -> torch.Tensor:
    """|x| of complex pictures (b, 2, h, w)."""
    return x.square().sum(1, keepdim=True).sqrt()


path = output("mri.png")
truth, others = slices(24)
torch.manual_seed(1)
mask = cartesian_mask(SIZE, ACCELERATION, center=0.06)
operator = MultiCoilMRI(mask, birdcage_maps(COILS, SIZE).float())
y = operator(phased(truth))
problem = reddiff.Problem(noisy(y, SIGMA), operator, reddiff.Gaussian(SIGMA))

prior = learn(others, phased)
result = reddiff.solve(problem, prior)

zero_filled = modulus(operator.guess(problem.y))
sense = modulus(operator.solve(operator.adjoint(problem.y), (SIGMA / 0.3) ** 2))
restored = modulus(result.x)
report(truth, result, zero_filled=zero_filled, sense=sense, reddiff=restored)
save(path, truth, zero_filled=zero_filled, sense=sense, reddiff=restored)
