"""The solvers of deepinv and azula beside ours: one prior, one y, each library's own code.

    make test-peers                                 # makes .venv/peers with both libraries
    .venv/peers/bin/python benchmarks/peers.py all --images FILES... --out peers.jsonl

`defaults` runs every solver with the settings of its library, at numbers of evaluations that are
equal where they can be. `causes` goes from ours to theirs change by change. Where the libraries
are missing the script says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import PHOTOS, Results, Row, Table, parser, photo, run_tables

from reddiff import ReddiffError
from reddiff.errors import require
from reddiff.images.io import read_picture
from reddiff.metrics import LPIPS, psnr
from reddiff.priors import Prior, photo_prior

NEEDED = "deepinv", "azula"
try:
    import peer_solvers
except ModuleNotFoundError as error:
    if error.name not in NEEDED:
        raise
    peer_solvers = None  # type: ignore[assignment]

TASKS = {"mask": "70 % mask", "blur": "blur 1.6", "sr4": "SR x4"}
SIDE = 64
LOSS = 0.2  # dB that ours may lose at equal cost
LOSSES = {  # where a peer gains by what its method's paper does not have
    "DDRM 20": 1.2,  # deepinv: noise of half the variance
    "PiGDM 20": 3.0,  # azula: sigma_y is taken as 0
}
QUICK = ("DPIR", "ADMM")


class Bench:
    """The pictures and the prior of one run."""

    def __init__(self, results: Results, arguments: argparse.Namespace) -> None:
        self.results, self.arguments = results, arguments
        self.prior: Prior = photo_prior()
        self.lpips = LPIPS()
        paths = sorted(map(Path, arguments.images or ()))
        self.names = [p.name for p in paths] or list(PHOTOS)
        pixels = [read_picture(p).pixels for p in paths] or [photo(n, SIDE) for n in PHOTOS]
        sizes = {tuple(x.shape) for x in pixels}
        good = len(sizes) == 1 and len(pixels[0]) == 3
        require(good, "images", expected="color files of one size", got=sorted(sizes))
        self.truth = torch.stack(pixels)

    def row(self, cell: Any, method: Any) -> Row:
        """PSNR, LPIPS and the cost of a method."""
        start = time.perf_counter()
        run = method(cell)
        seconds = (time.perf_counter() - start) / len(self.truth)
        x = run.x.clamp(0, 1)
        return {
            "psnr": psnr(x, self.truth).tolist(),
            "lpips": self.lpips(x, self.truth).tolist(),
            "evaluations": run.evaluations,
            "vjps": run.vjps,
            "seconds_each": seconds,
        }

    def table(self, methods: dict[tuple[str, str], Any], last: str) -> dict[Any, Row]:
        """All rows of all tasks, printed as they come."""
        costs = ("evaluations", "vjps", "seconds a picture")
        printed = Table("task", "solver", last, "PSNR", "LPIPS", *costs)
        found = {}
        for task in self.arguments.tasks:
            cell = peer_solvers.Cell.of(task, self.prior, self.truth)
            for (name, other), method in methods.items():
                if name.startswith("DDRM") and task == "sr4":  # which has no cheap SVD
                    continue
                key = {"task": task, "solver": name, "library": other}
                row = self.results.cell(
                    lambda method=method, cell=cell: self.row(cell, method),
                    **key,
                    images=self.names,
                )
                found[task, name, other] = row
                scores = f"{fmean(row['psnr']):.2f}", f"{fmean(row['lpips']):.3f}"
                cost = str(row["evaluations"]), str(row["vjps"]), f"{row['seconds_each']:.1f}"
                printed.row(TASKS[task], name, other, *scores, *cost)
        print()
        return found


def wanted(
    methods: dict[tuple[str, str], Any], arguments: argparse.Namespace
) -> dict[tuple[str, str], Any]:
    """Those of `--solvers`; else with `--quick` two, and otherwise all."""
    known = list(dict.fromkeys(name.split()[0] for name, _ in methods))
    names = arguments.solvers or (QUICK if arguments.quick else known)
    unknown = sorted({*names} - {*known})
    require(not unknown, "solvers", expected=f"some of {', '.join(known)}", got=unknown)
    return {k: v for k, v in methods.items() if k[0].split()[0] in names}


def defaults(results: Results, arguments: argparse.Namespace) -> None:
    bench = Bench(results, arguments)
    methods = wanted(peer_solvers.solvers(), arguments)
    found = bench.table(methods, "library")
    for (task, name, library), row in found.items():
        mine = found.get((task, name, "reddiff"))
        if library != "reddiff" and mine:
            gain = fmean(mine["psnr"]) - fmean(row["psnr"])
            results.expect(
                f"{task}, {name}: ours minus {library}, dB", gain, least=-LOSSES.get(name, LOSS)
            )


def causes(results: Results, arguments: argparse.Namespace) -> None:
    bench = Bench(results, arguments)
    bench.table(wanted(peer_solvers.causes(), arguments), "change")


TABLES: dict[str, Callable[[Results, argparse.Namespace], None]] = {
    "defaults": defaults,
    "causes": causes,
}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--images", nargs="+", help="color files of one size; by default photos")
    options.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    options.add_argument("--solvers", nargs="+", metavar="NAME", help="such as DPIR")
    arguments = options.parse_args()
    if peer_solvers is None:
        print("deepinv and azula are not installed here: `make test-peers` puts them into")
        print(".venv/peers; then .venv/peers/bin/python benchmarks/peers.py")
        return 0
    versions = peer_solvers.bridges.VERSIONS
    print(", ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
    return run_tables("peers", TABLES, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReddiffError as error:
        sys.exit(str(error))
