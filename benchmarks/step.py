"""A RED-diff step against a bare forward of the same network: time, memory, random draws.

Everything is timed side by side in one process: the repeats of all rows are interleaved and the
best of each is kept, so that a busy machine disturbs them alike. `beside the network` is the same
step with a network that costs nothing. A step of noise-aware RED-diff is the network, the exact
data step and the noise; it is timed for three operators.

Peak memory is measured twice, each time above what the network and the problem take: what torch
allocates, which is exact and the same on every machine, and the resident memory of a fresh process
in which malloc gives every large block back at once, which is good to a MiB or so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from reddiff import Gaussian, Keys, Problem, iterate, solve
from reddiff.cost import PeakMemory
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Mask, gaussian_psf
from reddiff.priors import EDMPrior, UNet
from reddiff.schedules import karras
from reddiff.solvers import NoiseAwareREDDiff, REDDiff, Solver

SHAPES = {"8x3x64x64": (8, 3, 64, 64), "1x3x256x256": (1, 3, 256, 256)}
ROWS = {  # solver, operator
    "paper": ("paper", "mask"),
    "plain": ("plain", "mask"),
    "noise-aware, mask": ("noise-aware", "mask"),
    "noise-aware, SR x4": ("noise-aware", "SR x4"),
    "noise-aware, blur": ("noise-aware", "blur"),
}
BARE = "bare forward"
MAX_RATIO = {"paper": 1.05, "plain": 1.05, "noise-aware": 1.10}
MAX_BUFFERS = {"paper": 8, "plain": 8, "noise-aware": 12}
MAX_DRAWS = 0.01
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
        x = torch.rand(shape) * 2 - 1
        mask = (torch.rand(shape[-2:]) > 0.7).float()
        operators: dict[str, LinearOperator] = {
            "mask": Mask(mask),
            "SR x4": BlockMean(4),
            "blur": CircularBlur(gaussian_psf(3.0, 9).float()),
        }
        problems = {k: Problem.simulate(x, a, Gaussian(0.1)) for k, a in operators.items()}
        return cls(net, problems, x, torch.zeros(len(x)))

    def forward(self) -> Tensor:
        with torch.inference_mode():
            return self.net(self.x, self.c_noise)

    def steps(self, name: str, steps: int, net: nn.Module | None = None) -> Iterator[object]:
        name, operator = ROWS[name]
        return iterate(self.problems[operator], self._prior(net), solver(name, steps))

    def solve(self, name: str, steps: int, net: nn.Module | None = None) -> None:
        name, operator = ROWS[name]
        solve(self.problems[operator], self._prior(net), solver(name, steps))

    def _prior(self, net: nn.Module | None) -> EDMPrior:
        return EDMPrior(self.net if net is None else net, (3, None, None))


class Free(nn.Module):
    """A network that costs nothing: what is left of a step is the solver and the loop."""

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return x


def solver(name: str, steps: int) -> Solver:
    if name == "paper":
        return REDDiff.paper(steps, sigma_max=80.0)
    if name == "noise-aware":
        return NoiseAwareREDDiff.default(steps)
    return REDDiff(karras(steps))


def best_of(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least seconds of each action, all of them in turn, after two calls to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats + 2):
        for name, act in actions.items():
            start = time.perf_counter()
            act()
            times[name].append(time.perf_counter() - start)
    return {name: min(values[2:]) for name, values in times.items()}


def time_steps(shape: tuple[int, ...], repeats: int) -> dict[str, float]:
    bench = Bench.of(shape)
    loops = {name: bench.steps(name, repeats + 2) for name in ROWS}
    actions: dict[str, Callable[[], object]] = {BARE: bench.forward}
    actions |= {name: lambda loop=loop: next(loop) for name, loop in loops.items()}
    return best_of(actions, repeats)


def time_overhead(shape: tuple[int, ...], repeats: int = 50) -> dict[str, float]:
    """The parts of a step that are not the network, much cheaper than it and timed alone."""
    bench, keys = Bench.of(shape), Keys(0, tuple(range(shape[0])))
    loops = {name: bench.steps(name, repeats + 2, Free()) for name in ROWS}
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


def print_peaks(name: str, shape: tuple[int, ...]) -> None:
    bench = Bench.of(shape)
    bench.forward()
    for every in ROWS:
        bench.solve(every, MEMORY_STEPS, Free())
    act = bench.forward if name == BARE else partial(bench.solve, name, MEMORY_STEPS)
    resident = resident_peak(act)
    print("\n" + json.dumps([allocated_peak(act), resident]))


def verdict(value: float, limit: float, digits: int) -> str:
    return "ok" if round(value, digits) <= limit else f"over {limit:g}"


def report_time(shape: tuple[int, ...], repeats: int) -> None:
    whole, parts = time_steps(shape, repeats), time_overhead(shape)
    bare = whole[BARE]
    print(f"  {BARE:<24}{1e3 * bare:9.1f} ms")
    for name in ROWS:
        ratio, beside = whole[name] / bare, parts[name] / bare
        limit = MAX_RATIO[ROWS[name][0]]
        print(
            f"  step, {name:<18}{1e3 * whole[name]:9.1f} ms = {ratio:.3f} x "
            f"({verdict(ratio, limit, 3)}); beside the network "
            f"{1e3 * parts[name]:.2f} ms = {beside:.2%} ({verdict(1 + beside, limit, 3)})"
        )
    draws = parts["draws"]
    fine = verdict(draws / bare, MAX_DRAWS, 4)
    print(f"  random draws{1e3 * draws:21.2f} ms = {draws / bare:.3%} ({fine})")


def report_memory(label: str, shape: tuple[int, ...]) -> None:
    image = torch.Size(shape).numel() * 4
    bare, bare_resident = peaks(BARE, label)
    print(f"  peak, {BARE:<18}{bare / 2**20:7.1f} MiB, an image being {image / 2**20:.3f} MiB")
    for name in ROWS:
        allocated, resident = peaks(name, label)
        more = (allocated - bare) / image
        line = f"  peak, {name:<18}{allocated / 2**20:7.1f} MiB = + {more:.1f} images"
        line += f" ({verdict(more, MAX_BUFFERS[ROWS[name][0]], 1)})"
        if resident is not None and bare_resident is not None:
            line += f"; resident + {(resident - bare_resident) / image:.1f} images"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--repeats", type=int, default=10, help="repeats to take the best of")
    parser.add_argument("--shape", choices=SHAPES, help="only this shape")
    parser.add_argument("--peak", choices=[BARE, *ROWS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print_peaks(arguments.peak, SHAPES[arguments.shape])
        return
    shapes = {k: v for k, v in SHAPES.items() if arguments.shape in (None, k)}
    size = sum(p.numel() for p in Bench.of((1, 3, 64, 64)).net.parameters())
    print(
        f"U-Net of {size / 1e6:.1f} M parameters, {arguments.threads} threads, torch "
        f"{torch.__version__}, the best of {arguments.repeats} interleaved repeats"
    )
    for label, shape in shapes.items():
        print(f"\n{label}")
        report_time(shape, arguments.repeats)
        report_memory(label, shape)


if __name__ == "__main__":
    main()
