"""Demosaicing: a camera's sensor sees one color at each pixel, the prior finds the other two.

The start, and what most cameras show in their viewfinder, is bilinear interpolation; its
errors are the colored fringes along fine edges.
"""

from common import noisy, output, photo, report, save

import reddiff
from reddiff.operators import Bayer, BayerPattern
from reddiff.priors import photo_prior
from reddiff.units import to_pixels

SIGMA = 0.02

path = output("demosaic.png")
truth = photo("astronaut")
sensor = Bayer(BayerPattern.RGGB)

# y has three channels, of which one is seen at each pixel: `sensor.measured` says which. The
# raw picture of a camera, (1, 1, h, w), becomes such a y by `sensor(raw.expand(-1, 3, -1, -1))`.
y = sensor(noisy(sensor(truth), SIGMA))
problem = reddiff.from_pixels(y, sensor, reddiff.Gaussian(SIGMA))
result = reddiff.solve(problem, photo_prior())

bilinear = sensor.initial_estimate(y)
restored = to_pixels(result.x)
report(truth, result, bilinear=bilinear, reddiff=restored)
save(path, truth, raw=y, bilinear=bilinear, reddiff=restored)
