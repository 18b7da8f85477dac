"""Deconvolution with a measured PSF: a photo from a shaken camera, and the edge of its frame.

The PSF was recorded from a real camera shake (Levin et al., 2009). Light from beyond the frame is
smeared into it, so y depends on more scene than it shows. Here x is that larger scene, and y is
seen where no part of the PSF leaves it: nothing is assumed of what lies outside. A Wiener filter
that takes the frame for periodic shows what the wrong assumption costs. In one line, for files:
`reddiff restore blurred.png -o sharp.png --task deblur --kernel levin:4`.
"""

import torch
from common import noisy, output, photo, report, save

import reddiff
from reddiff.operators import CircularBlur, Mask, levin_psf
from reddiff.priors import photo_prior
from reddiff.units import to_pixels

SIGMA = 0.01

path = output("deconvolution.png")
scene = photo("coffee")
psf = levin_psf(4).float()  # (27, 27), sum 1; a PSF of your own: divide it by its sum
margin = psf.shape[0] // 2
inside = slice(margin, -margin)

# Within the frame, a convolution of the scene that wraps around is one that does not.
frame = torch.zeros(1, *scene.shape[-2:])
frame[:, inside, inside] = 1
blur = CircularBlur(psf)
operator = Mask(frame) @ blur

y = frame * noisy(blur(scene), SIGMA)
problem = reddiff.from_pixels(y, operator, reddiff.Gaussian(SIGMA))
result = reddiff.solve(problem, photo_prior())

truth, recorded = scene[..., inside, inside], y[..., inside, inside]
wiener = blur.solve(blur.adjoint(recorded), (SIGMA / 0.25) ** 2)  # pixels vary by about 0.25
restored = to_pixels(result.x)[..., inside, inside]
report(truth, result, recorded=recorded, wiener=wiener, reddiff=restored)
save(path, truth, recorded=recorded, wiener=wiener, reddiff=restored)
