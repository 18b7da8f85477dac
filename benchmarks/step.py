"""The step of every solver against the bare network: time, memory, random draws.

Everything is timed side by side in one process: the repeats of all rows are interleaved and the
best of each is kept, so that a busy machine disturbs them alike. `beside the network` is the same
step with a network that costs nothing. The bare network is a forward for every evaluation of the
step, and for every vjp what a forward and backward cost more than a forward.

Peak memory is measured twice, each time above what the network and the problem take: what torch
allocates, which is exact and the same on every machine, and the resident memory of a fresh process
in which malloc gives every large block back at once, which is good to a MiB or so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from common import Results, Row, Table, parser, random_mask, weak_operators
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from reddiff import Gaussian, Keys, Problem, iterate, solve, solvers
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, gaussian_psf
from reddiff.priors import EDMPrior, UNet
from reddiff.run.cost import PeakMemory
from reddiff.schedules import geometric, karras
from reddiff.solvers import catalogue
from reddiff.solvers.base import StepCost

SHAPES = {"1x3x64x64": (1, 3, 64, 64), "8x3x64x64": (8, 3, 64, 64), "1x3x256x256": (1, 3, 256, 256)}
QUICK_SHAPE = "1x3x64x64"  # not in the full run
QUICK = ("red-diff", "noise-aware, double image, a function", "dps")


@dataclass(frozen=True)
class Step:
    """A solver to time.

    Arguments:
        make: From the steps.
        operator: What it is timed on.
        ratio: The most a step should cost, over the bare network.
        buffers: The most images that it should take beside the network.
        rows: Network evaluations that are made as one batch.
    """

    make: Callable[[int], solvers.Solver[Any]]
    operator: str = "mask"
    ratio: float = 1.10
    buffers: int = 12
    rows: int = 1

    @property
    def cost(self) -> StepCost:
        return self.make(1).cost


def _step(make: Callable[[int], solvers.Solver[Any]], **limits: Any) -> Step:
    """A solver with the usual limits: higher ones where it goes back through the network."""
    usual = {"ratio": 1.15, "buffers": 48} if make(1).cost.vjps else {}
    return Step(make, **usual | limits)


def _published(name: str) -> Callable[[int], solvers.Solver[Any]]:
    return lambda n: catalogue.METHODS[name].make(None, None, n)


# Every method of the catalogue; some with other settings, and some in more than one way.
ROWS = {name: _step(_published(name)) for name in catalogue.METHODS}
ROWS |= {
    "red-diff": Step(_published("red-diff"), ratio=1.05, buffers=8),
    "red-diff, karras": Step(lambda n: solvers.REDDiff(karras(n)), ratio=1.05, buffers=8),
    "rsd": Step(_published("rsd"), buffers=48, rows=4),
    "sitcom": _step(lambda n: solvers.SITCOM.paper(n, inner=3)),
    "pnp-admm": _step(lambda n: solvers.PnPADMM(geometric(n, 0.1, 1.0))),
    "ddim": _step(lambda n: solvers.DDIM(karras(n))),
    "heun": _step(solvers.Heun.edm),
    **{
        f"noise-aware, {name}": Step(solvers.NoiseAwareREDDiff.default, name)
        for name in ("SR x4", "blur", *weak_operators((8, 8), 3))
    },
}
BARE, BOTH, FOUR = "forward", "forward + backward", "forward of four rows"
MAX_DRAWS = 0.01
MAX_WRAPPED, PAIRS = 1.01, 40
MEMORY_STEPS = 3


@dataclass(frozen=True)
class Bench:
    """The network, and what is run on it.

    Arguments:
        net: The U-Net.
        problems: Operator -> its problem.
        x: A batch of images.
        c_noise: What the network is told of the level, one number per image.
    """

    net: nn.Module
    problems: dict[str, Problem]
    x: Tensor
    c_noise: Tensor

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Bench:
        torch.manual_seed(0)
        net = UNet(channels=(112, 160, 224, 320), blocks=(2, 2, 2, 1)).eval()
        net.requires_grad_(False)
        x = torch.rand(shape) * 2 - 1
        height, width = shape[-2:]
        operators: dict[str, LinearOperator] = {
            "mask": random_mask((height, width)),
            "SR x4": BlockMean(4),
            "blur": CircularBlur(gaussian_psf(3.0, 9).float()),
            **{k: a.float() for k, a in weak_operators((height, width), 3).items()},
        }
        problems = {k: Problem.simulate(x, a, Gaussian(0.1)) for k, a in operators.items()}
        return cls(net, problems, x, torch.zeros(len(x)))

    def forward(self, rows: int = 1) -> Tensor:
        with torch.inference_mode():
            return self.net(self.x.repeat(rows, 1, 1, 1), self.c_noise.repeat(rows))

    def bare(self) -> dict[str, Callable[[], Tensor]]:
        return {BARE: self.forward, BOTH: self.both, FOUR: partial(self.forward, 4)}

    def both(self) -> Tensor:
        x = self.x.clone().requires_grad_()
        out = self.net(x, self.c_noise)
        return torch.autograd.grad(out, x, torch.ones_like(out))[0]

    def steps(self, row: Step, steps: int, net: nn.Module | None = None) -> Iterator[object]:
        return iterate(self.problems[row.operator], self._prior(net), row.make(steps))

    def solve(self, row: Step, steps: int, net: nn.Module | None = None) -> None:
        solve(self.problems[row.operator], self._prior(net), row.make(steps))

    def _prior(self, net: nn.Module | None) -> EDMPrior:
        return EDMPrior(self.net if net is None else net, (3, None, None))


class Free(nn.Module):
    """A network that costs nothing: what is left of a step is the solver and the loop."""

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return x


def best_of(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least seconds of each action, all of them in turn, after two calls to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats + 2):
        for name, act in actions.items():
            start = time.perf_counter()
            act()
            times[name].append(time.perf_counter() - start)
    return {name: min(values[2:]) for name, values in times.items()}


def time_steps(shape: tuple[int, ...], repeats: int, rows: dict[str, Step]) -> dict[str, float]:
    bench = Bench.of(shape)
    loops = {name: bench.steps(row, repeats + 2) for name, row in rows.items()}
    actions: dict[str, Callable[[], object]] = {**bench.bare()}
    actions |= {name: lambda loop=loop: next(loop) for name, loop in loops.items()}
    return best_of(actions, repeats)


def time_overhead(
    shape: tuple[int, ...], rows: dict[str, Step], repeats: int = 50
) -> dict[str, float]:
    """The parts of a step that are not the network, much cheaper than it and timed alone."""
    bench, keys = Bench.of(shape), Keys(0, tuple(range(shape[0])))
    loops = {name: bench.steps(row, repeats + 2, Free()) for name, row in rows.items()}
    actions: dict[str, Callable[[], object]] = {
        name: lambda loop=loop: next(loop) for name, loop in loops.items()
    }
    levels = torch.empty(shape[0], 1, dtype=torch.float64)
    noise = torch.empty(shape[0], 1, *shape[1:])

    def draw() -> None:
        rng = keys.at(0)
        rng.rand_like(levels)
        rng.randn_like(noise)

    return best_of({**actions, "draws": draw}, repeats)


def time_wrapped(shape: tuple[int, ...], pairs: int) -> float:
    """An evaluation of a prior over that of its network, the median over pairs side by side."""
    bench = Bench.of(shape)
    prior, sigma = EDMPrior(bench.net, (3, None, None)), torch.ones(shape[0])

    def wrapped() -> Tensor:
        with torch.inference_mode():
            return prior(bench.x, sigma)

    ratios = []
    for i in range(pairs + 2):
        seconds = {}
        for act in (bench.forward, wrapped)[:: 1 if i % 2 else -1]:
            start = time.perf_counter()
            act()
            seconds[act] = time.perf_counter() - start
        ratios.append(seconds[wrapped] / seconds[bench.forward])
    return statistics.median(ratios[2:])


def allocated_peak(act: Callable[[], object]) -> int:
    """The most bytes that torch had allocated at once during a call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        act()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate(n for _, n in changes))


def resident_peak(act: Callable[[], object]) -> int | None:
    """The most resident bytes above those of now; None where the system does not tell."""
    memory = PeakMemory(torch.device("cpu"))
    act()
    return memory.peak()


def peaks(name: str, shape: str) -> tuple[int, int | None]:
    """Both peaks, of a fresh process."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    threads = str(torch.get_num_threads())
    command = [sys.executable, __file__, "--threads", threads, "--peak", name, "--shape", shape]
    done = subprocess.run(  # noqa: S603  (this very file)
        command, env=environment, check=True, capture_output=True, text=True
    )
    allocated, resident = json.loads(done.stdout.splitlines()[-1])
    return allocated, resident


def memory_acts(bench: Bench) -> dict[str, Callable[[], object]]:
    """What takes the memory: the bare network, and short runs."""
    bench.forward()
    acts: dict[str, Callable[[], object]] = {**bench.bare()}
    for name, row in ROWS.items():
        acts[name] = partial(bench.solve, row, MEMORY_STEPS)
    return acts


def print_peaks(name: str, shape: tuple[int, ...]) -> None:
    bench = Bench.of(shape)
    act = memory_acts(bench)[name]
    if name in ROWS:
        bench.solve(ROWS[name], MEMORY_STEPS, Free())
    resident = resident_peak(act)
    print("\n" + json.dumps([allocated_peak(act), resident]))


def measured(label: str, repeats: int, rows: dict[str, Step], quick: bool) -> dict[str, Row]:
    """Seconds, and both peaks in bytes, of every row and of the bare network."""
    shape, names = SHAPES[label], (BARE, BOTH, FOUR, *rows)
    whole, parts = time_steps(shape, repeats, rows), time_overhead(shape, rows)
    acts = memory_acts(Bench.of(shape))
    found = {
        name: {
            "step": whole.get(name),
            "beside": parts.get(name),
            "peaks": (allocated_peak(acts[name]), None) if quick else peaks(name, label),
        }
        for name in names
    }
    return {**found, "draws": {"step": parts["draws"]}}


def report(results: Results, label: str, repeats: int, rows: dict[str, Step], quick: bool) -> None:
    found = measured(label, repeats, rows, quick)
    image = math.prod(SHAPES[label]) * 4
    for name in (BARE, BOTH, FOUR):
        milliseconds, peak = 1e3 * found[name]["step"], found[name]["peaks"][0] / 2**20
        print(f"{name}: {milliseconds:.1f} ms, peak {peak:.1f} MiB", end="; ")
    draws = found["draws"]["step"] / found[BARE]["step"]
    if not quick:
        results.expect(f"{label}: random draws, over a forward", draws, most=MAX_DRAWS)
        wrapped = time_wrapped(SHAPES[label], PAIRS)
        results.expect(f"{label}: a prior, over its network", wrapped, most=MAX_WRAPPED)
    print(f"random draws {draws:.3%}; an image is {image / 2**20:.3f} MiB\n")
    columns = ("step, ms", "over the network", "beside the network", "peak, MiB", "images more")
    printed = Table("solver", "evaluations + vjps", *columns, "resident more")
    for name, row in rows.items():
        once, back = found[FOUR if row.rows == 4 else BARE]["step"], found[BOTH]["step"]
        evaluations, vjps = row.cost
        network = evaluations // row.rows * once + vjps * (back - found[BARE]["step"])
        ratio, beside = found[name]["step"] / network, found[name]["beside"] / network
        allocated, resident = found[name]["peaks"]
        least, least_resident = found[BOTH if vjps else FOUR if row.rows == 4 else BARE]["peaks"]
        more = (allocated - least) / image
        grown = None if None in (resident, least_resident) else (resident - least_resident) / image
        results.keep(
            {"shape": label, "solver": name, "ratio": ratio, "beside": beside, "images": more}
        )
        printed.row(
            name,
            f"{evaluations}" + (f" + {vjps}" if vjps else ""),
            f"{1e3 * found[name]['step']:.0f}",
            f"{ratio:.3f}",
            f"{beside:.2%}",
            f"{allocated / 2**20:.0f}",
            f"{more:.1f}",
            "" if grown is None else f"{grown:.1f}",
        )
        results.expect(
            f"{label}: {name}, images more than the network", more, most=1.25 * row.buffers
        )
        if not quick:
            results.expect(f"{label}: {name}, over the network", ratio, most=row.ratio)
            results.expect(f"{label}: {name}, 1 + beside the network", 1 + beside, most=row.ratio)
    print()


def main() -> int:
    options = parser(__doc__, threads=2)
    options.add_argument("--repeats", type=int, default=10, help="repeats to take the best of")
    options.add_argument("--shape", choices=SHAPES, help="only this shape")
    options.add_argument("--solvers", nargs="*", choices=ROWS, help="only these solvers")
    options.add_argument("--peak", choices=[BARE, BOTH, FOUR, *ROWS], help=argparse.SUPPRESS)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print_peaks(arguments.peak, SHAPES[arguments.shape])
        return 0
    given, quick = (arguments.shape, arguments.solvers), arguments.quick
    shape, solvers = (QUICK_SHAPE, QUICK) if quick else given
    repeats = 1 if quick else arguments.repeats
    shapes = [k for k in SHAPES if k == shape or (shape is None and k != QUICK_SHAPE)]
    rows = {k: v for k, v in ROWS.items() if not solvers or k in solvers}
    size = sum(p.numel() for p in Bench.of((1, 3, 64, 64)).net.parameters())
    print(
        f"U-Net of {size / 1e6:.1f} M parameters, {arguments.threads} threads, torch "
        f"{torch.__version__}, the best of {repeats} interleaved repeats"
    )
    results = Results("step", arguments.out)
    for label in shapes:
        print(f"\n## {label}\n")
        report(results, label, repeats, rows, quick)
    return results.close()


if __name__ == "__main__":
    sys.exit(main())
