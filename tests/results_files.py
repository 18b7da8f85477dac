"""Results files made without running a solver: noisy squares, and numbers that follow from them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reddiff.bench.rows import Key, Measurement, Result
from reddiff.bench.store import Results


def write_results(
    path: Path,
    *,
    solvers: Sequence[str] = ("degraded", "default", "dps"),
    tasks: Sequence[str] = ("sr4", "blur"),
    noises: Sequence[float] = (0.05,),
    images: int = 6,
    side: int = 16,
    diverged: Sequence[tuple[str, int]] = (),
    salt: str = "",
    form: str = "1",
    **spec: Any,
) -> Path:
    """Write a results file.

    Arguments:
        path: The file.
        solvers, tasks, noises: Of the spec; the later a solver is, the better.
        images: How many.
        side: Pixels of a side.
        diverged: Solvers and the numbers of images on which they have no result.
        salt: Changes the measurements.
        form: The format.
        spec: More entries of the spec.
    """
    spec = {
        "name": "made up",
        "priors": {"photo": {"source": "photo"}},
        "tasks": {task: {"task": task} for task in tasks},
        "solvers": {solver: {"solver": solver, "steps": 20} for solver in solvers},
        **spec,
    }
    meta = {"format": form, "spec": json.dumps(spec), "created": "2026-11-27T12:00:00Z"}
    meta["machine"] = json.dumps({"cpu": "a CPU", "cores": 2})
    results = Results.open(path)
    rng = np.random.default_rng(0)
    for task, noise, i in itertools.product(tasks, noises, range(images)):
        truth = np.kron(rng.random((2, 2, 3)), np.ones((side // 2, side // 2, 1)))
        y = truth + noise * rng.normal(size=truth.shape)
        key = ("photo", task, noise, f"image{i}")
        found = []
        for k, solver in enumerate(solvers):
            x = truth + noise / (k + 1) * rng.normal(size=truth.shape)
            found.append(_result(key, solver, k, truth, x, (solver, i) in diverged))
        results.add([Measurement(*key, i, png(truth), png(y), f"{salt}{i}")], found)
    results.write_meta(meta)
    results.close()
    return path


def _result(
    key: Key, solver: str, k: int, truth: np.ndarray, x: np.ndarray, diverged: bool
) -> Result:
    evaluations = 0 if solver == "degraded" else 20 * k
    cost = {"evaluations": evaluations, "seconds": 0.1 * k, "peak_bytes": 1_000_000 * k, "batch": 8}
    if diverged:
        return Result(key, solver, "diverged", "a value became NaN or inf", **cost)
    error = float(np.sqrt(np.mean((x - truth) ** 2)))
    metrics = {"psnr": -20 * math.log10(error), "lpips": 5 * error, "residual": 1 - error}
    if k == 2:
        metrics |= {"spread": 0.9 * error, "coverage_90": 0.88}
    return Result(key, solver, "ok", metrics=metrics, picture=png(x), **cost)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels in [0, 1], `(h, w, 3)`."""
    file = BytesIO()
    Image.fromarray((255 * pixels.clip(0, 1) + 0.5).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
