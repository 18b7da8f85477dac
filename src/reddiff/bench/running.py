"""Run a benchmark. Existing results in the file are kept, and missing ones are added."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from reddiff.bench.context import Context
from reddiff.bench.planning import Job
from reddiff.bench.solving import Bench
from reddiff.bench.store import Results
from reddiff.bench.workers import Setup, run_jobs
from reddiff.errors import PictureError

OUTSIDE = {
    "bench",
    "cli",
}  # packages on which results do not depend, except for these modules of `bench`:
DECIDING = (
    "context",
    "exact_priors",
    "features",
    "images",
    "methods",
    "scoring",
    "solving",
    "tasks",
)
Tell = Callable[[Job, list[Any]], None]


def run(
    results: Results,
    context: Context,
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    threads: int = 1,
    tell: Tell | None = None,
) -> float:
    """Run jobs, and store the results of each as soon as it ends.

    Arguments:
        results: The file.
        context: The spec and its images.
        jobs: The jobs.
        workers: The number of processes.
        threads: Threads of torch in each process.
        tell: Called with each job and its results once they are stored.

    Returns:
        Seconds that the solvers took, summed over processes.

    Raises:
        PictureError: If the file cannot be written; stored results are kept.
    """
    took = 0.0
    for job, (measurements, found) in _found(context, jobs, workers, threads):
        results.add(measurements, found)
        took += sum(row.seconds for row in found)
        if tell is not None:
            tell(job, found)
    return took


def _found(
    context: Context, jobs: Sequence[Job], workers: int, threads: int
) -> Iterator[tuple[Job, Any]]:
    if workers > 1:
        setup = Setup(context.spec, context.limit, str(context.device), threads)
        yield from run_jobs(setup, jobs, workers)
        return
    torch.set_num_threads(threads)
    bench = Bench(context)
    for job in jobs:
        yield job, bench.run(job)


def claim(results: Results, context: Context, *, accept: bool = False) -> None:
    """Write the spec, weights and versions into a new file, or compare them with those of the file.

    Arguments:
        results: The file.
        context: The spec and its images.
        accept: Accept a file of another version.

    Raises:
        PictureError: If the file has another spec, other weights, other images or another version.
    """
    if "spec_hash" in results.meta():
        check_claim(results, context, accept=accept)
        return
    entries = {
        "spec": context.spec.model_dump_json(),
        "spec_hash": context.spec.hash,
        "weights": json.dumps(context.weights()),
        "versions": json.dumps(versions()),
        "machine": json.dumps(machine()),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    results.write_meta(entries)


def check_claim(results: Results, context: Context, *, accept: bool = False) -> None:
    """Compare a file with the spec. Arguments and errors as for `claim`."""
    spec, meta = context.spec, results.meta()
    weights, used = context.weights(), versions()
    new = "(--new keeps the file and starts a new one)"
    if meta.get("spec_hash") != spec.hash:
        _refuse(results.path, f"results of this spec {new}", "those of another")
    if json.loads(meta["weights"]) != weights:
        _refuse(results.path, f"results of the same priors {new}", "those of other weights")
    there = json.loads(meta["versions"])
    apart = [f"{k} {v}" for k, v in there.items() if used.get(k) != v]
    if apart and not accept:
        expected = f"results of this version {new}, or --accept-version"
        _refuse(results.path, expected, f"those of {', '.join(apart)}")
    seeds = results.seeds()
    for prior in spec.priors:
        for truth in context.truths(prior).values():
            if seeds.get((prior, truth.name), truth.seed) != truth.seed:
                expected = f"results of the same images {new}"
                _refuse(results.path, expected, f"those of another {truth.name}")


def _refuse(path: Path, expected: str, got: str) -> None:
    raise PictureError(path, expected=expected, got=got)


@cache
def versions() -> dict[str, str]:
    """The versions on which results depend: the library with a hash of its source, and torch."""
    home = Path(str(files("reddiff")))
    paths = [p for p in sorted(home.rglob("*.py")) if p.relative_to(home).parts[0] not in OUTSIDE]
    paths += [home / "bench" / f"{name}.py" for name in DECIDING]
    source = sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()[:12]
    return {"reddiff": version("reddiff"), "source": source, "torch": torch.__version__}


def machine() -> dict[str, Any]:
    """The hardware and software on which times depend."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cpu = models[0] if models else platform.machine()
    cores = len(models) or None
    return {"cpu": cpu, "cores": cores, "gpu": gpu, "python": platform.python_version()}
