"""Phase retrieval: a picture from the modulus of its Fourier transform, without and with a code.

Only y = |F x| is measured. x, -x and both turned by 180 degrees have the same y, so the result is
aligned with the truth (sign, turn, shift) before it is compared. Twice oversampled, y fixes the rest
in theory; finding it is another matter. Restarts help: `samples=4`, and `best` is the one that
explains y best. Expect a face, no details. One random code in the beam (x times random phases)
changes everything: a single pattern, as many numbers as pixels, is enough with this prior.
"""

import torch
from common import noisy, output, report, save
from heads import learn, slices
from torch import Tensor
from torch.fft import fft2, ifft2

import reddiff
from reddiff.operators import CodedDiffraction, Operator, PhaseRetrieval, uniform_codes
from reddiff.pixels import to_pixels

NOISE = 0.01  # relative to the rms of y


def aligned(x: Tensor, truth: Tensor) -> Tensor:
    """x or -x, turned or not, shifted to correlate best with the truth."""
    found = []
    for turned in (x, x.flip(-1, -2)):
        match = ifft2(fft2(turned).conj() * fft2(truth)).real[0, 0]
        place = int(match.abs().argmax())
        shift = divmod(place, match.shape[1])
        found.append(match.flatten()[place].sign() * turned.roll(shift, (-2, -1)))
    return min(found, key=lambda p: float((p - truth).square().sum()))


path = output("phase.png")
truth, others = slices(24)
prior = learn(others, lambda p: 2 * p - 1)


def retrieve(operator: Operator) -> tuple[reddiff.Reconstruction, Tensor, Tensor]:
    """The run, its best picture, and that of alternating projections, where it started."""
    clean = operator(truth)
    sigma = NOISE * float(clean.square().mean().sqrt())
    y = noisy(clean, sigma)
    problem = reddiff.from_pixels(y, operator, reddiff.Gaussian(sigma))
    result = reddiff.solve(problem, prior, samples=4)
    best = aligned(to_pixels(result.best), truth)
    return result, best, aligned(operator.guess(y), truth)


print("Fourier moduli, twice oversampled")
plain, x, projections = retrieve(PhaseRetrieval(2.0))
report(truth, plain, projections=projections, reddiff=x)

print("\none coded diffraction pattern")
coded, x_coded, start = retrieve(CodedDiffraction(uniform_codes(1, (128, 128)).float()))
report(truth, coded, projections=start, reddiff=x_coded)
save(path, truth, projections=projections, reddiff=x, projections_coded=start, reddiff_coded=x_coded)
