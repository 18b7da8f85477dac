"""Your own operator: a plain function on tensors is all it takes.

A camera on a rattling mount reads its sensor row by row: every row of the picture is shifted by
another amount and smeared while it is exposed, and the lens darkens the corners. No library has
this operator; `reddiff.operator` makes one of the function, and finds out that it is linear.
"""

import torch
from common import noisy, output, photo, report, save
from torch import Tensor

import reddiff
from reddiff.priors import photo_prior
from reddiff.units import to_pixels

SIDE, EXPOSURE, SIGMA = 192, 0.12, 0.01

# Where each pixel looks while its row is exposed, as one matrix per row: (row, pixel, seen).
rows, pixels = torch.linspace(-1, 1, SIDE)[:, None], torch.arange(SIDE)
shake = torch.zeros(SIDE, SIDE, SIDE)
for moment in torch.linspace(0, EXPOSURE, 5):
    time = rows + moment
    shift = 6 * torch.sin(9 * time) + 2.5 * torch.sin(31 * time)  # pixels
    place = (pixels + shift).clamp(0, SIDE - 1)
    shake += (1 - (place[:, :, None] - pixels).abs()).clamp(min=0) / 5
lens = (1 + 0.35 * (rows**2 + rows.T**2)) ** -2


def camera(picture: Tensor) -> Tensor:
    """What is recorded of pictures (b, 3, h, w)."""
    return torch.einsum("bchw,hvw->bchv", picture, shake.to(picture)) * lens.to(picture)


path = output("own_function.png")
truth = photo("chelsea")[..., :SIDE, :SIDE]

# The function is tried at once: shapes, linearity, whether it keeps the pictures of a batch apart.
operator = reddiff.operator(camera, x_shape=(3, SIDE, SIDE))
print(reddiff.check(operator, x_shape=(3, SIDE, SIDE)), end="\n\n")

# y is what was recorded, in [0, 1]; `from_pixels` takes care of the prior's units, [-1, 1].
y = noisy(operator(truth), SIGMA)
problem = reddiff.from_pixels(y, operator, reddiff.Gaussian(SIGMA))
result = reddiff.solve(problem, photo_prior())

restored = to_pixels(result.x)
report(truth, result, recorded=y, reddiff=restored)
save(path, truth, recorded=y, reddiff=restored)
