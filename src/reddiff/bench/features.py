"""The features of truths and results, and the agreement of a classifier on them.

They are computed from the stored 8-bit pictures, as is usual for distances between sets of
pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor

from reddiff.bench.rows import Measurement, Result
from reddiff.images.io import as_picture
from reddiff.metrics.efficientnet import EfficientNetLite0

FEATURE_METRICS = ("top1", "frechet", "kernel")  # the last two are computed from what is stored

network = cache(EfficientNetLite0)


def with_features(
    measurements: Sequence[Measurement], results: Sequence[Result], metrics: Sequence[str]
) -> tuple[list[Measurement], list[Result]]:
    """Measurements and results with the features and metrics that the spec requires.

    Arguments:
        measurements: The measurements of a batch, of one size.
        results: The results of a solver in the same order; some may have no picture.
        metrics: Metrics of the spec. Any of `FEATURE_METRICS` adds features; `top1` also adds a
            metric.
    """
    done = [i for i, result in enumerate(results) if result.picture is not None]
    if not done or not set(FEATURE_METRICS) & set(metrics):
        return list(measurements), list(results)
    truths = _features(tuple(m.truth for m in measurements))
    found = _features(tuple(results[i].picture or b"" for i in done))
    classes = [network().logits(v).argmax(1) for v in (found, truths[done])]
    agreed = (classes[0] == classes[1]).tolist()
    described = list(results)
    for place, i in enumerate(done):
        scores = {"top1": float(agreed[place])} if "top1" in metrics else {}
        scored = {**results[i].metrics, **scores}
        described[i] = replace(results[i], metrics=scored, features=_bytes(found[place]))
    pairs = zip(measurements, truths, strict=True)
    return [replace(m, features=_bytes(vector)) for m, vector in pairs], described


@lru_cache(maxsize=4)  # the truths of a batch are those of all solvers
def _features(pictures: tuple[bytes, ...]) -> Tensor:
    pixels = torch.stack([as_picture(Image.open(BytesIO(png))).pixels for png in pictures])
    with torch.inference_mode():
        return network()(pixels)


def _bytes(vector: Tensor) -> dict[str, bytes]:
    return {EfficientNetLite0.name: vector.float().numpy().tobytes()}
