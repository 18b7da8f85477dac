"""Noise-aware RED-diff beside the published recipe, as released and as tuned, on your pictures.

    python benchmarks/photos.py run    --images FILES... --out results.jsonl
    python benchmarks/photos.py tune   --images FILES... --out results.jsonl
    python benchmarks/photos.py report --out results.jsonl

A cell is a task at a noise level, in [0, 1] pixels. All methods see the same measurement and prior;
a picture's noise depends on its place in the sorted list of files, whatever slice of it is run.
`tune` looks for the best weight and learning rate of the published recipe on other pictures,
truth in hand. Every result is one JSON line, and what is in the file already is not run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import torch
from common import (
    PHOTOS,
    Results,
    Row,
    box_mask,
    load,
    parser,
    photo,
    random_mask,
    table,
    weak_operators,
)
from photo_methods import METHODS, Method, Setting, released
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from reddiff import Gaussian, Problem, ReddiffError, Unsupported, solve
from reddiff.errors import require
from reddiff.images.io import read_picture
from reddiff.images.masks import make_mask
from reddiff.images.tasks import Deblur, Denoise, Inpaint, SuperResolve, Task
from reddiff.metrics import LPIPS, psnr
from reddiff.operators import BlockMean, CircularBlur, Mask, Operator, gaussian_psf, motion_psf
from reddiff.priors import Prior, photo_prior, weights_hash
from reddiff.snapshot import describe

Size = tuple[int, int]
# From the size and the ids: the task whose published settings hold, and the operator of all lanes.
MakeTask = Callable[[Size, Sequence[int]], tuple[Task, Operator]]
Cell = tuple[str, float]
Cells = dict[Cell, dict[str, Row]]  # the rows of every cell by method

SEED = 1
NOISES = (0.01, 0.05, 0.1)
WEIGHTS, RATES = (0.05, 0.25, 1.0, 4.0, 16.0), (0.02, 0.05, 0.1, 0.25)
SIGNS = {"psnr": 1, "lpips": -1}  # larger is better, smaller is better
DIGITS = {"psnr": 2, "lpips": 3}
SHORT, FIRST_RATE = 100, 0.05  # steps of a trial; the rate of the first line


# ------------------------------------------------------------------------------- pictures, tasks


@dataclass(frozen=True)
class Photos:
    """Pictures `(b, 3, h, w)` in [0, 1], their names, and their places in the list of all files."""

    names: list[str]
    ids: list[int]
    pixels: Tensor

    @property
    def size(self) -> Size:
        height, width = self.pixels.shape[-2:]
        return height, width


def read_photos(paths: Sequence[str], skip: int = 0, limit: int | None = None) -> Photos:
    """A slice of the files in the order of their names."""
    ordered = sorted(map(Path, paths), key=lambda p: (p.name, str(p)))
    ids = list(range(len(ordered)))[skip:][:limit]
    require(bool(ids), "images", expected="at least one file after --skip", got=len(ordered))
    chosen = [ordered[i] for i in ids]
    pixels = [read_picture(p).pixels.expand(3, -1, -1) for p in chosen]
    sizes = {tuple(x.shape[1:]) for x in pixels}
    require(len(sizes) == 1, "images", expected="files of one size", got=sorted(sizes))
    return Photos([f"{p.parent.name}/{p.name}" for p in chosen], ids, torch.stack(pixels))


def text_mask(size: Size, ids: Sequence[int]) -> tuple[Task, Operator]:
    if max(size) > 128:
        mask = make_mask("text:lorem", size)
    else:  # at half the size a small picture holds a few words; a stroke stays 2 pixels wide
        mask = 1 - max_pool2d(1 - make_mask("text:lorem", (2 * size[0], 2 * size[1])), 2)
    return Inpaint(mask), Mask(mask)


def random70(size: Size, ids: Sequence[int]) -> tuple[Task, Operator]:
    mask = random_mask(size, ids, seed=SEED)
    return Inpaint(mask.mask[0]), mask


def weak(name: str) -> MakeTask:
    """An operator that changes x little, at the published settings of denoising."""
    return lambda size, _: (Denoise(), weak_operators(size, 3)[name].float())


def motion(size: Size, ids: Sequence[int]) -> tuple[Task, Operator]:
    psf = motion_psf(9 if max(size) <= 128 else 15, 30).float()
    return Deblur(psf), CircularBlur(psf)


PSF = gaussian_psf(1.6).float()
TASKS: dict[str, MakeTask] = {
    "denoise": lambda *_: (Denoise(), Mask(torch.ones(1, 1, 1))),
    "text": text_mask,
    "random70": random70,
    "box": lambda size, _: (Inpaint(box_mask(size).mask), box_mask(size)),
    "sr4": lambda *_: (SuperResolve(4), BlockMean(4)),
    "gaussian": lambda *_: (Deblur(PSF), CircularBlur(PSF)),
    "motion": motion,
    **{name: weak(name) for name in weak_operators((8, 8), 3)},
}


DEFAULTS = ("noise-aware", "noise-aware-20", "paper")
TUNED = {"paper-tuned": "psnr", "paper-tuned-lpips": "lpips"}  # what each is tuned for


def source_hash() -> str:
    """A hash of the noise-aware solver's source, so that results of an older one are known."""
    solvers = Path(str(files("reddiff"))) / "solvers"
    sources = sorted([*(solvers / "noise_aware").glob("*.py"), solvers / "steps" / "proximal.py"])
    return sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:12]


# --------------------------------------------------------------------------------------- results


class Bench(Results):
    """The pictures, the prior, and the file that results go to."""

    def __init__(self, photos: Photos, prior: Prior, out: Path | None = None) -> None:
        super().__init__("photos", out)
        self.photos, self.prior, self.lpips = photos, prior, LPIPS()
        self.weights = weights_hash(prior)

    def measure(self, task: str, noise: float) -> tuple[Task, Problem]:
        """The cell's task and measurement."""
        kind, operator = TASKS[task](self.photos.size, self.photos.ids)
        x, ids = 2 * self.photos.pixels - 1, self.photos.ids
        return kind, Problem.simulate(x, operator, Gaussian(2 * noise), seed=SEED, ids=ids)

    def row(self, kind: str, task: str, noise: float, method: str, steps: int) -> Row:
        """A row without results; only those of noise-aware methods depend on their source."""
        photos = self.photos
        where = {"prior": self.weights, "images": photos.names, "size": list(photos.size)}
        cell = {"kind": kind, "task": task, "noise": noise, "method": method, "steps": steps}
        source = source_hash() if method.startswith(("noise-aware", "realism")) else None
        return cell | {"weight": None, "lr": None, "source": source} | where

    def keep(self, row: Row) -> None:
        """Write a finished row."""
        super().keep(row)
        cell = f"{row['kind']} {row['task']} {row['noise']:g} {row['method']} {row['steps']}"
        tuned = "" if row["lr"] is None else f" weight {row['weight']:g} lr {row['lr']:g}"
        scores = f"{mean(row['psnr']):.2f} dB, LPIPS {mean(row['lpips']):.3f}"
        print(f"{cell}{tuned}: {scores}, {row['seconds']:.0f} s", flush=True)

    def scores(self, pixels: Tensor) -> Row:
        """PSNR and LPIPS of every picture."""
        x, truth = pixels.clamp(0, 1), self.photos.pixels
        return {"psnr": psnr(x, truth).tolist(), "lpips": self.lpips(x, truth).tolist()}

    def degraded(self, task: str, noise: float) -> None:
        """The row of y itself, at the size of x; missing pixels are mid-gray."""
        row = self.row("run", task, noise, "degraded", 0)
        if self.found(row):
            return
        y = (self.measure(task, noise)[1].y + 1) / 2
        if y.shape[-2:] != self.photos.size:
            y = interpolate(y, self.photos.size, mode="bicubic")
        ends = {"evaluations": 0, "settings": None, "residual_ratio": None, "seconds": 0.0}
        self.keep(row | self.scores(y) | ends)

    def solved(self, row: Row, method: Method) -> None:
        """Run what is missing."""
        if self.found(row):
            return
        task, problem = self.measure(row["task"], row["noise"])
        solver = method.make(task, problem, row["steps"], self.prior)
        try:
            run = solve(problem, self.prior, solver, ids=self.photos.ids)
        except Unsupported as error:
            print(f"{row['task']}: left out. {error}", file=sys.stderr)
            return
        ends = {
            "evaluations": run.cost.evaluations[0],
            "settings": describe(solver),
            "residual_ratio": problem.residual_ratio(run.x).tolist(),
            "seconds": run.cost.seconds,
        }
        self.keep(row | self.scores((run.x + 1) / 2) | ends)

    def with_setting(self, kind: str, task: str, noise: float, method: str, s: Setting) -> None:
        """The released recipe with other settings, or a copy of the row that has them already."""
        row = self.row(kind, task, noise, method, s.steps) | {"weight": s.weight, "lr": s.lr}
        for twin in TUNED:
            same = self.found(row | {"method": twin})
            if same and not self.found(row):
                self.keep(same[-1] | {"method": method})
        self.solved(row, Method(s.steps, lambda *_: released(self.prior, s)))


def run(bench: Bench, args: argparse.Namespace) -> None:
    """Every method on every cell."""
    wanted = [(task, noise) for task in args.tasks for noise in args.noise]
    tuned = [m for m in args.methods if m in TUNED]
    size = bench.photos.size
    rows = bench.found({"prior": bench.weights})
    choices = {(c, m): choice(rows, c, size, TUNED[m]) for m in tuned for c in wanted}
    for cell in wanted:
        bench.degraded(*cell)
        for name in args.methods:
            if name in TUNED:
                bench.with_setting("run", *cell, name, choices[cell, name])
                continue
            method = METHODS[name]
            bench.solved(bench.row("run", *cell, name, args.steps or method.steps), method)


# ---------------------------------------------------------------------------------------- tuning


def missing(rows: Sequence[Row], short: int) -> list[Setting]:
    """What a cell's tuning still has to run: lines through the grid, each through the best so far.

    First all weights at one rate; then, for PSNR and for LPIPS, all rates at the best weight, and
    all weights near it at the best rate.
    """
    done = {Setting(r["weight"], r["lr"], r["steps"]): r for r in rows}
    line = [Setting(weight, FIRST_RATE, short) for weight in WEIGHTS]
    if rest := [s for s in line if s not in done]:
        return rest
    for measure in (lambda s: -mean(done[s]["psnr"]), lambda s: mean(done[s]["lpips"])):
        weight = min(line, key=measure).weight
        rates = [Setting(weight, lr, short) for lr in RATES]
        if rest := [s for s in rates if s not in done]:
            return rest
        lr, at = min(rates, key=measure).lr, WEIGHTS.index(weight)
        near = [Setting(w, lr, short) for w in WEIGHTS[max(0, at - 1) : at + 2]]
        if rest := [s for s in near if s not in done]:
            return rest
    return []


def choice(rows: Sequence[Row], cell: Cell, size: Size, metric: str) -> Setting:
    """The best setting of the cell's last tuning by a metric's mean.

    Raises:
        InvalidArgument: If the rows hold none, or one that was broken off.
    """
    tuned = [r for r in rows if r["kind"] == "tune" and (r["task"], r["noise"]) == cell]
    tuned = [r for r in tuned if tuple(r["size"]) == size]
    found = [r for r in tuned if r["images"] == tuned[-1]["images"]]
    todo = missing(found, min((r["steps"] for r in found), default=SHORT))
    expected = f"a finished `tune` of {cell[0]} at noise {cell[1]:g} for {size} in the same file"
    require(not todo, "out", expected=expected, got=f"{len(found)} lines, {len(todo)} to go")
    best = max(found, key=lambda r: SIGNS[metric] * mean(r[metric]))
    return Setting(best["weight"], best["lr"], best["steps"])


def tune(bench: Bench, args: argparse.Namespace) -> None:
    """The released recipe over its grid, cell by cell."""
    for task in args.tasks:
        for noise in args.noise:
            short = args.steps or SHORT
            key = bench.row("tune", task, noise, "paper", short)
            key = {k: v for k, v in key.items() if k not in ("steps", "weight", "lr")}
            while todo := missing(bench.found(key), short):
                for setting in todo:
                    bench.with_setting("tune", task, noise, "paper", setting)


# ---------------------------------------------------------------------------------------- report


def by_pictures(rows: Sequence[Row]) -> list[Cells]:
    """The results cell by cell, for each prior and set of pictures; the last of equals counts."""
    sets: dict[tuple[Any, ...], Cells] = {}
    for row in (r for r in rows if r["kind"] == "run"):
        cells = sets.setdefault((row.get("prior"), *row["size"], *row["images"]), {})
        cells.setdefault((row["task"], row["noise"]), {})[row["method"]] = row
    order = {task: i for i, task in enumerate(TASKS)}
    return [
        dict(sorted(cells.items(), key=lambda item: (order[item[0][0]], item[0][1])))
        for cells in sets.values()
    ]


def overview(cells: Cells) -> None:
    """PSNR / LPIPS of every method, the best in bold."""
    names = ["degraded", *(m for m in METHODS if not m.startswith("realism")), *TUNED]
    shown = [m for m in names if any(m in cell for cell in cells.values())]
    rows = [
        [task, f"{noise:g}", *(entry(cell, m, shown) for m in shown)]
        for (task, noise), cell in cells.items()
    ]
    table(("task", "noise", *shown), rows)


def entry(cell: dict[str, Row], method: str, among: Sequence[str]) -> str:
    """One method's PSNR / LPIPS, with a dagger where the solver has changed since."""
    if method not in cell:
        return ""
    parts = []
    for metric, sign in SIGNS.items():
        best = max(sign * mean(cell[m][metric]) for m in among if m in cell)
        value = mean(cell[method][metric])
        bold = "**" * (sign * value == best)
        parts.append(f"{bold}{value:.{DIGITS[metric]}f}{bold}")
    stale = cell[method]["source"] not in (None, source_hash())
    return " / ".join(parts) + " †" * stale


def counts(cells: Cells) -> list[str]:
    """In how many cells the noise-aware methods beat the published recipe, and which they lose."""
    rivals = [("paper", "psnr"), ("paper", "lpips"), *TUNED.items()]
    lines = []
    for method in ("noise-aware", "noise-aware-20"):
        for rival, metric in rivals:
            both = {c: v for c, v in cells.items() if method in v and rival in v}
            if not both:
                continue
            margin = {c: _margin(v[method], v[rival], metric) for c, v in both.items()}
            lost = {c: m for c, m in margin.items() if m <= 0}
            won = f"{len(both) - len(lost)} of {len(both)}"
            lines.append(f"- {method} beats {rival} in {metric.upper()} in {won} cells")
            for (task, noise), gap in sorted(lost.items(), key=lambda item: item[1]):
                by = f"{-gap:.{DIGITS[metric]}f}"
                lines.append(f"    - lost: {task} at {noise:g}, worse by {by}")
    return lines


def _margin(a: Row, b: Row, metric: str) -> float:
    return SIGNS[metric] * (mean(a[metric]) - mean(b[metric]))


def trade_off(cells: Cells) -> None:
    """What realism buys and costs, task by task."""
    realisms = [m for m in METHODS if m.startswith("realism")]
    shown = [m for m in realisms if any(m in cell for cell in cells.values())]
    curves = {c: v for c, v in cells.items() if any(m in v for m in shown)}
    for task in dict.fromkeys(task for task, _ in curves):
        of_task = {n: v for (t, n), v in curves.items() if t == task}
        rows = [[m, *(entry(v, m, shown) for v in of_task.values())] for m in shown]
        table((task, *(f"noise {n:g}" for n in of_task)), rows)


def report(rows: Sequence[Row]) -> None:
    """Print the tables.

    Raises:
        InvalidArgument: If there are no results of `run`.
    """
    found = by_pictures(rows)
    require(bool(found), "out", expected="a file with results of `run`", got=f"{len(rows)} rows")
    for cells in found:
        first = next(iter(next(iter(cells.values())).values()))
        h, w = first["size"]
        print(f"\n## {len(first['images'])} pictures of {w}x{h}, from {first['images'][0]} on\n")
        print("PSNR in dB / LPIPS, means; the best in bold; † from an older solver.\n")
        overview(cells)
        print("\n".join(counts(cells)) + "\n")
        trade_off(cells)


# -------------------------------------------------------------------------------------- commands


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    commands = options.add_subparsers(dest="command")
    for name in ("run", "tune", "report"):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, required=True, help="the file of JSON lines")
        if name == "report":
            continue
        command.add_argument("--images", nargs="+", required=True, help="files of one size")
        command.add_argument("--skip", type=int, default=0, help="leave out the first files")
        command.add_argument("--limit", type=int, help="and take so many")
        command.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
        command.add_argument("--noise", nargs="+", type=float, default=list(NOISES))
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--steps", type=int, help=argparse.SUPPRESS)
        if name == "run":
            methods = [*METHODS, *TUNED]
            command.add_argument("--methods", nargs="+", default=list(DEFAULTS), choices=methods)
    args = options.parse_args(argv)
    if args.command is None and not args.quick:
        options.print_help()
    return args


def quick(prior: Prior) -> int:
    """The default and the released recipe on small photos of the package, at few steps."""
    pixels = torch.stack([photo(name, 64) for name in PHOTOS])
    bench = Bench(Photos(list(PHOTOS), list(range(len(PHOTOS))), pixels), prior)
    for task in ("denoise", "sr4", "double image", "double image, a function"):
        bench.degraded(task, 0.05)
        for name in ("noise-aware", "paper"):
            bench.solved(bench.row("run", task, 0.05, name, 4), METHODS[name])
    report(bench.rows)
    (found,) = by_pictures(bench.rows)
    for (task, _), cell in found.items():
        gain = _margin(cell["noise-aware"], cell["degraded"], "psnr")
        bench.expect(f"{task}: gain of noise-aware at 4 steps, dB", gain, least=0)
    return bench.close()


def main(argv: Sequence[str] | None = None, make_prior: Callable[[], Prior] = photo_prior) -> int:
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    if args.quick:
        return quick(make_prior())
    if args.command == "report":
        report(load(args.out))
    elif args.command is not None:
        bench = Bench(read_photos(args.images, args.skip, args.limit), make_prior(), args.out)
        (run if args.command == "run" else tune)(bench, args)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReddiffError as error:
        sys.exit(str(error))
