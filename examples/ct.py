"""Sparse-view CT: a head from 30 directions, with a prior that has seen other slices of it.

The data: an axial slice of Colin27, 27 scans of one head by MRI; as a map of absorption it is a
stand-in. The prior is the photo prior, trained on for 50 steps with slices 10 mm away and
more. Filtered back-projection is what a scanner would do with so few views.
"""

from common import noisy, output, report, save
from heads import learn, slices

import reddiff
from reddiff.operators import Radon, hann, ramp
from reddiff.units import to_pixels

VIEWS, SIZE, NOISE = 30, 128, 0.003  # the noise is relative to the densest line
DETECTORS = 182  # as wide as the diagonal: rays pass through the corners too

path = output("ct.png")
truth, others = slices(24)
angles = [180 * k / VIEWS for k in range(VIEWS)]
radon = Radon(SIZE, angles, spacing=1 / SIZE, detectors=DETECTORS, circle=False)
clean = radon(truth)
sigma = NOISE * float(clean.max())
y = noisy(clean, sigma)

prior = learn(others, lambda p: 2 * p - 1)
problem = reddiff.from_pixels(y, radon, reddiff.Gaussian(sigma))
result = reddiff.solve(problem, prior)

sharp, smooth = (radon.filtered_back_projection(y, window) for window in (ramp, hann))
restored = to_pixels(result.x)
report(truth, result, back_projection=sharp, back_projection_hann=smooth, reddiff=restored)
save(path, truth, back_projection=sharp, back_projection_hann=smooth, reddiff=restored)
