"""Prepare a run from the command line. Predictable failures are raised before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reddiff.engine.driver import Distributor, prepare, run_plan
from reddiff.engine.events import Totals, Watcher
from reddiff.engine.local import local_processes
from reddiff.engine.modes import Engine, Mode, Output
from reddiff.engine.plan import Plan
from reddiff.engine.sources import open_source
from reddiff.engine.sources.owned import with_files
from reddiff.engine.sources.tables import arrow
from reddiff.engine.target import Target
from reddiff.errors import InvalidArgument, require_count
from reddiff.images.batching import lanes_of
from reddiff.images.folders import SUFFIXES, extensions
from reddiff.images.jobs import Job
from reddiff.images.settings import Settings
from reddiff.interop import door
from reddiff.priors.photo import weights_hash


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of a run.

    Arguments:
        source: A folder, a list, `.tar` or `.parquet` files, a pattern, or a store; see
            `open_source`.
        output: The folder of the results.
        settings: The settings for every picture.
        keep_diverged: As for `Job`.
        recursive: Search sub-folders of a folder too.
        ext: The extensions of pictures to select; empty for all.
        output_format: The format of the results.
        shard_size: Pictures per shard.
        mode: Whether to remove the results of an earlier run.
        new_run: Whether to set them aside.
        retry_failed: Redo the shards that have failed pictures.
        workers: Processes; by default one per core, or one if the device is a GPU; 0 to do all in
            this one, which a crash of a decoder then ends.
        distributor: Processes of this machine, or actors of a Ray cluster, one per core of it.
        batch: The most pictures of one size that are solved as one batch, or `auto`.
        threads: Threads of each process. They can change the last bits of the pixels.
    """

    source: str
    output: Path
    settings: Settings
    keep_diverged: bool = False
    recursive: bool = False
    ext: Sequence[str] = ()
    output_format: Output = Output.FILES
    shard_size: int = 1000
    mode: Mode = Mode.INCREMENTAL
    new_run: bool = False
    retry_failed: bool = False
    workers: int | None = None
    distributor: Engine = Engine.LOCAL
    batch: str = "auto"
    threads: int = 1


def execute(request: Request, watcher: Watcher) -> Totals:
    """Restore the pictures of a request that have no result yet.

    Raises:
        InvalidArgument: If an option cannot be used, or the target was started with another plan.
        PictureError: If the source cannot be read; or if the target is in use, was not written by
            `reddiff run`, or cannot be written to.
        WeightsError: If the weights do not fit the network.
    """
    if request.output_format is Output.PARQUET:
        arrow()
    if request.mode is Mode.OVERWRITE and request.new_run:
        expected = "either --new-run or --mode overwrite"
        raise InvalidArgument("--mode", expected=expected, got="both")
    workers = _workers(request)
    distributor = _distributor(request, workers)
    job = Job("-", str(request.output), request.settings, request.keep_diverged)
    job.check()
    target = Target(request.output)
    target.check_new()
    suffixes = extensions(request.ext) if request.ext else SUFFIXES
    source = open_source(
        request.source, recursive=request.recursive, suffixes=suffixes, avoid=request.output
    )
    source, own = with_files(source, request.settings)
    weights = weights_hash(door.prior(str(request.settings.prior)))
    plan = Plan.of(
        job,
        weights=weights,
        output=request.output_format,
        shard_size=request.shard_size,
        threads=request.threads,
        count=len(source.items),
        source=source.digest,
        own=own,
    )
    lanes = lanes_of(request.batch)
    with target.locked():
        notes = prepare(
            target,
            plan,
            source,
            mode=request.mode,
            new_run=request.new_run,
            retry=request.retry_failed,
        )
        said = [*source.notes, *notes]
        return run_plan(
            target,
            plan,
            job,
            source,
            distributor=distributor,
            watcher=watcher,
            processes=_cores() if workers is None else max(1, workers),
            lanes=lanes,
            notes=said,
        )


def _workers(request: Request) -> int | None:
    """The number of processes; None for as many as a cluster has room for."""
    if request.workers is not None:
        least = 0 if request.distributor is Engine.LOCAL else 1
        require_count("--workers", request.workers, least)
        return request.workers
    if request.distributor is Engine.RAY:
        return None
    import torch

    device = str(request.settings.device)
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return 1
    return max(1, _cores() // request.threads)


def _distributor(request: Request, workers: int | None) -> Distributor:
    if workers is not None and request.distributor is Engine.LOCAL:
        return local_processes(workers)
    from reddiff.engine.cluster import ray_actors

    return ray_actors(workers)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
