"""A SciPy sparse matrix as the operator: a wide-angle lens on a sensor of few pixels.

The lens bends straight lines (barrel distortion), and each pixel of a 128 x 128 sensor averages
2 x 2 rays of the scene. Every ray falls between four pixels of the 256 x 256 picture we want:
that makes a sparse matrix. A `scipy.sparse.linalg.LinearOperator`, which has no matrix but a
`matvec` and an `rmatvec`, becomes an operator by `reddiff.from_linear_operator`.
"""

import numpy as np
import scipy.sparse
import torch
from common import noisy, output, photo, report, save

import reddiff
from reddiff.priors import photo_prior
from reddiff.units import to_pixels

SIDE, SENSOR, RAYS, SIGMA = 256, 128, 2, 0.01


def lens() -> scipy.sparse.coo_array:
    """The rays of every sensor pixel, (sensor pixels, picture pixels)."""
    ray = (np.arange(SENSOR * RAYS) + 0.5) / (SENSOR * RAYS) * 2 - 1
    v, u = np.meshgrid(ray, ray, indexing="ij")
    bend = (1 + 0.35 * (u**2 + v**2)) / 1.35  # the sides of the sensor see those of the scene
    down, right = ((side * bend + 1) / 2 * (SIDE - 1) for side in (v, u))
    pixel = np.arange(SENSOR * RAYS) // RAYS
    sensor = pixel[:, None] * SENSOR + pixel
    entries = []
    for i in (np.floor(down), np.floor(down) + 1):
        for j in (np.floor(right), np.floor(right) + 1):
            seen = (i >= 0) & (i < SIDE) & (j >= 0) & (j < SIDE)  # the corners see nothing
            weight = (1 - np.abs(down - i)) * (1 - np.abs(right - j)) / RAYS**2
            entries.append((weight[seen], sensor[seen], (i * SIDE + j)[seen]))
    values, rows, columns = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    size = (SENSOR**2, SIDE**2)
    return scipy.sparse.coo_array((values.astype("float32"), (rows, columns.astype(int))), size)


path = output("scipy_operator.png")
truth = photo("astronaut")

# One matrix for the three channels of the picture, one after the other.
matrix = scipy.sparse.block_diag([lens()] * 3)
operator = reddiff.from_matrix(matrix, x_shape=(3, SIDE, SIDE))
print(f"{matrix.shape[0]} x {matrix.shape[1]}, {matrix.nnz} entries\n")

y = noisy(operator(truth), SIGMA)
problem = reddiff.from_pixels(y, operator, reddiff.Gaussian(SIGMA))
result = reddiff.solve(problem, photo_prior())

recorded = y.reshape(1, 3, SENSOR, SENSOR)
# What a resampling would do: each picture pixel is the weighted mean of the sensor pixels it hit.
hits = operator.adjoint(torch.ones_like(y))
resampled = operator.adjoint(y) / hits.clamp(min=1e-3)
restored = to_pixels(result.x)
report(truth, result, resampled=resampled, reddiff=restored)
save(path, truth, recorded=recorded, resampled=resampled, reddiff=restored)
