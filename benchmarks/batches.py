"""Speed of several pictures in one batch, against one by one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from common import Results, Table, parser, run_tables
from engine import folder, pictures, settings

from reddiff.images.batching import Batches
from reddiff.images.io import read_picture
from reddiff.images.jobs import Job
from reddiff.images.making import make, make_together
from reddiff.priors import photo_prior
from reddiff.priors.photo import weights_hash
from reddiff.run.batch_invariance import BatchInvariant


def batches(results: Results, arguments: argparse.Namespace) -> None:
    """8 lanes of 64 x 64 as one batch, and one by one, in CPU time without the start.

    First one call of the network, as it is and with the bits of one lane alone; then whole
    restorations of files, with one evaluation each.
    """
    prior, times = photo_prior(), 1 if arguments.quick else 10
    side = 16 if arguments.quick else 64
    x = torch.rand(8, 3, side, side) * 2 - 1
    sigma = torch.full((8, 1, 1, 1), 0.2)
    alike, together, weights = BatchInvariant(8), Batches(8), weights_hash(prior)

    def network(size: int) -> None:
        for first in range(0, 8, size):
            prior.denoise(x[first : first + size], sigma[first : first + size])

    def same_bits() -> None:
        with alike:
            network(8)

    with folder() as top, torch.no_grad():
        files = sorted(pictures(top / "in", 8, side).iterdir())
        setup = settings("photo", 1)
        jobs = [Job(str(file), "out.png", setup, lane=i) for i, file in enumerate(files)]
        works = [(job, read_picture(job.source)) for job in jobs]
        ways: dict[str, Callable[[], object]] = {
            "network, one by one": lambda: network(1),
            "network, 8 lanes": lambda: network(8),
            "network, 8 lanes with the same bits": same_bits,
            "restore, one by one": lambda: [make(*w, prior, weights=weights) for w in works],
            "restore, 8 lanes": lambda: make_together(works, prior, together, weights=weights),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(times + 1):
            for name, way in ways.items():
                start = time.process_time()
                way()
                took[name].append(time.process_time() - start)
    made = Table("what", "CPU ms a lane", "speed-up")
    least = {name: min(values[1:]) for name, values in took.items()}
    for name, seconds in least.items():
        alone = least[f"{name.partition(',')[0]}, one by one"]
        made.row(name, f"{125 * seconds:.1f}", f"{alone / seconds:.2f}")
    print()
    if not arguments.quick:
        ratio = least["restore, one by one"] / least["restore, 8 lanes"]
        results.expect("speed-up of 8 lanes in a batch", ratio, least=1.0)


if __name__ == "__main__":
    tables = {"batches": batches}
    sys.exit(run_tables("batches", tables, parser(__doc__ or "", tables).parse_args()))
