"""What the benchmarks share: operators, fields, rows in JSON lines, tables, and the verdict.

A benchmark computes rows, cell by cell. With `--out FILE` each row is added to the file as one line
of JSON with the versions it was computed with, and a cell that the file has already, from the same
source, is not computed again. At the end the expectations are printed, and one that fails sets the
exit status.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff import Gaussian, Keys, Problem, operator
from reddiff.images.io import read_picture
from reddiff.images.masks import make_mask
from reddiff.operators import CircularBlur, Diagonal, Identity, LinearOperator, Mask, gaussian_psf
from reddiff.priors import GaussianMixture, GaussianRandomField
from reddiff.random import DRAWING

Row = dict[str, Any]
T = TypeVar("T")
F64 = torch.float64
FIELD = GaussianRandomField(-2.2, std=0.5)
SIGMAS = (0.01, 0.1, 0.4)  # the noise levels of a `FieldCell`

PHOTOS = ("astronaut", "chelsea", "coffee")  # in the package, 256 x 256

# ------------------------------------------------------------------------- operators, pictures


def random_mask(
    size: tuple[int, int],
    ids: Sequence[int] | None = None,
    *,
    missing: float = 0.7,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> Mask:
    """A mask that drops each pixel with probability `missing`.

    With ids there is one for each lane, which depends on the seed and the id alone; else there is
    one for all, from the generator if one is given.
    """
    if ids is not None:
        u = Keys(seed, tuple(ids)).at(DRAWING).rand_like(torch.empty(len(ids), 1, *size))
        return Mask((u >= missing).float(), per_lane=True)
    generator = torch.Generator().manual_seed(seed) if generator is None else generator
    return Mask((torch.rand(size, generator=generator, dtype=torch.float64) > missing).float())


def box_mask(size: tuple[int, int]) -> Mask:
    """A mask that drops a square in the middle, 3 / 8 of the shorter side."""
    return Mask(make_mask(f"box:{3 * min(size) // 8}", size))


def weak_operators(
    size: tuple[int, int], channels: int, *, functions: bool = True
) -> dict[str, LinearOperator]:
    """Operators that change x little, each as a class and, unless left out, as a function of x."""
    line = torch.linspace(-1, 1, size[1], dtype=torch.float64)
    vignette = (1 - 0.4 * line**2).expand(channels, *size).clone()
    near = (1 + 0.05 * line).expand(channels, *size).clone()
    psf = gaussian_psf(0.5)
    ghost = torch.zeros(1, 7, dtype=torch.float64)
    ghost[0, 3], ghost[0, 6] = 0.7, 0.3

    def mild(x: Tensor) -> Tensor:
        r = len(psf) // 2
        shifts = [(i - r, j - r) for i in range(len(psf)) for j in range(len(psf))]
        weights = psf.flatten().tolist()
        return sum(w * x.roll(s, (-2, -1)) for w, s in zip(weights, shifts, strict=True))

    classes = {
        "identity": (Identity(), lambda x: x.clone()),
        "near identity": (Diagonal(near), lambda x: near.to(x) * x),
        "mild blur": (CircularBlur(psf), mild),
        "vignette": (Diagonal(vignette), lambda x: vignette.to(x) * x),
        "double image": (CircularBlur(ghost), lambda x: 0.7 * x + 0.3 * x.roll(3, -1)),
    }
    example = torch.zeros(1, channels, *size, dtype=torch.float64)
    found: dict[str, LinearOperator] = {}
    for name, (known, function) in classes.items():
        found[name] = known
        if functions:
            found[f"{name}, a function"] = operator(function, example=example, linear=True)
    return found


def photo(name: str, side: int = 256) -> Tensor:
    """A photo of the package in [0, 1], `(3, side, side)`."""
    with as_file(files("reddiff").joinpath(f"assets/photos/{name}.png")) as path:
        pixels = read_picture(path).pixels
    if side == pixels.shape[-1]:
        return pixels
    return interpolate(pixels[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)


def drawn(
    prior: GaussianMixture | GaussianRandomField, count: int, shape: tuple[int, ...], seed: int = 0
) -> Tensor:
    """Draws of a prior `(count, *shape)`; each depends on the seed and its place alone."""
    keys = Keys(seed, tuple(range(count)))
    return prior.sample(torch.empty(count, *shape, dtype=F64), keys.at(DRAWING))


@dataclass(frozen=True, eq=False)
class FieldCell:
    """One operator on draws of FIELD at all noise levels: lanes are levels x fields."""

    name: str
    truth: Tensor
    problem: Problem
    exact: Tensor  # the posterior mean

    @classmethod
    def of(cls, name: str, operator: LinearOperator, count: int, side: int) -> FieldCell:
        truth = drawn(FIELD, count, (1, side, side)).repeat(len(SIGMAS), 1, 1, 1)
        sigma = torch.tensor(SIGMAS, dtype=F64).repeat_interleave(count)
        problem = Problem.simulate(truth, operator, Gaussian(sigma), seed=1)
        return cls(name, truth, problem, FIELD.posterior(problem).mean)


def per_level(x: Tensor) -> Tensor:
    """The mean of a value of every lane of a `FieldCell` over all but the levels."""
    return x.view(len(SIGMAS), -1).mean(1)


# ------------------------------------------------------------------------------ rows and tables


def load(path: Path) -> list[Row]:
    """The rows of a file; a line that was cut off is skipped."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append(path: Path, row: Row) -> None:
    """Add one line, on a line of its own also after one that was cut off."""
    cut = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * cut + json.dumps(row) + "\n")


@cache
def source_hash() -> str:
    """A hash of the library's source and weights: rows of another one are computed again."""
    home = Path(str(files("reddiff")))
    paths = [*home.rglob("*.py"), *(p for p in home.glob("assets/*/*") if p.is_file())]
    return sha256(b"".join(p.read_bytes() for p in sorted(paths))).hexdigest()[:12]


@cache
def versions() -> Row:
    """What a row was computed with."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)  # noqa: S603
    models = [v for v in _cpu_info() if v.startswith("model name")]
    return {
        "reddiff": version("reddiff"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": models[0].split(":")[1].strip() if models else platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": done.stdout.strip() or None,
        "source": source_hash(),
    }


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


class Table:
    """Markdown, printed row by row."""

    def __init__(self, *header: str) -> None:
        print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|", flush=True)

    def row(self, *cells: str) -> None:
        """One more row."""
        print("| " + " | ".join(cells) + " |", flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table, and an empty line."""
    printed = Table(*header)
    for row in rows:
        printed.row(*row)
    print()


class Results:
    """The cells of one run of a benchmark, and what is expected of them.

    Arguments:
        bench: The name of the benchmark.
        out: The file of rows, if they are kept.
    """

    def __init__(self, bench: str, out: Path | None = None) -> None:
        self.bench, self.out = bench, out
        self.rows = load(out) if out else []
        self.failed = 0
        self.expectations: list[tuple[str, str, str]] = []

    def found(self, key: Row) -> list[Row]:
        """The rows with these entries."""
        key = json.loads(json.dumps(key))
        return [row for row in self.rows if key == {k: row.get(k) for k in key}]

    def cell(self, compute: Callable[[], Row], **key: Any) -> Row:
        """The row of a cell: from the file, or computed and added to it."""
        for row in self.found({"bench": self.bench, **key}):
            if row["versions"]["source"] == source_hash():
                return row
        start = time.perf_counter()
        row = json.loads(json.dumps(key)) | compute()
        row |= {"seconds": round(time.perf_counter() - start, 2)}
        self.keep(row)
        return row

    def keep(self, row: Row) -> None:
        """Add a row to the file."""
        row = {"bench": self.bench, "versions": versions(), **row}
        if self.out:
            append(self.out, row)
        self.rows.append(row)

    def expect(
        self, name: str, value: float, *, most: float = float("inf"), least: float = -float("inf")
    ) -> None:
        """Note an expectation: a name, the value, and its bound."""
        holds = least <= value <= most
        self.failed += not holds
        bounds = [f"at least {least:g}"] * (least > -float("inf"))
        bounds += [f"at most {most:g}"] * (most < float("inf"))
        said = f"{' and '.join(bounds)}: {'ok' if holds else 'FAILED'}"
        self.expectations.append((name, f"{value:.4g}", said))

    def close(self) -> int:
        """Print the expectations; the exit status."""
        if self.expectations:
            table(("expectation", "value", "bound"), self.expectations)
        return int(self.failed > 0)


# -------------------------------------------------------------------------------- command line


def chosen(
    known: Mapping[str, T], names: Sequence[str] | None, quick: Sequence[str] | None
) -> dict[str, T]:
    """What the user named; else, with `--quick`, those `quick`; else all."""
    return {name: known[name] for name in names or quick or known}


def parser(doc: str, tables: Iterable[str] = (), threads: int = 1) -> argparse.ArgumentParser:
    """The options that every benchmark has; with several tables, which of them."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=doc, formatter_class=form)
    if tables := list(tables):
        made.add_argument("table", nargs="?", choices=[*tables, "all"], default="all")
    made.add_argument("--quick", action="store_true", help="small sizes, within a minute")
    made.add_argument("--out", type=Path, help="file of JSON lines to keep rows in, and resume")
    made.add_argument(
        "--threads", type=int, default=threads, help=f"threads of torch (default {threads})"
    )
    return made


def run_tables(
    bench: str,
    tables: dict[str, Callable[[Results, argparse.Namespace], None]],
    arguments: argparse.Namespace,
) -> int:
    """Run the tables that were asked for; the exit status."""
    torch.set_num_threads(arguments.threads)
    results = Results(bench, arguments.out)
    for name in tables if arguments.table == "all" else [arguments.table]:
        print(f"## {name}\n")
        start = time.perf_counter()
        tables[name](results, arguments)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return results.close()
