"""How long reddiff takes to answer, and what it adds to the import of torch.

Every number is the wall time of a fresh Python process; the runs of all rows are interleaved, and
the median and the least are given. What a row adds is the difference of the two rows' least times:
on a busy machine it is the steadier one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

ROWS = {
    "python": "pass",
    "reddiff --help": "import sys; sys.argv = ['reddiff', '--help']\n"
    "from reddiff.cli import main\nmain()",
    "import reddiff": "import reddiff",
    "import torch": "import torch",
    "import torch, reddiff; reddiff.solve": "import torch, reddiff; reddiff.solve",
    "import torch; torch.optim.Adam(...)": "import torch\n"
    "torch.optim.Adam([torch.zeros(1, requires_grad=True)])",
}
MAX_HELP, MAX_ADDED = 0.5, 0.3


def wall_time(code: str) -> float:
    start = time.perf_counter()
    subprocess.run(  # noqa: S603  (the rows above)
        [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=os.environ
    )
    return time.perf_counter() - start


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each row; the first round warms the file cache and is thrown away."""
    times: dict[str, list[float]] = {row: [] for row in ROWS}
    for _ in range(runs + 1):
        for row, code in ROWS.items():
            times[row].append(wall_time(code))
    return {row: values[1:] for row, values in times.items()}


def verdict(value: float, limit: float) -> str:
    return f"target < {limit} s: {'ok' if value < limit else 'missed'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="processes per row (default 7)")
    times = measure(parser.parse_args().runs)
    least = {row: min(values) for row, values in times.items()}
    print(f"{'':<40}{'median':>9}{'least':>9}")
    for row, values in times.items():
        print(f"{row:<40}{statistics.median(values):7.2f} s{least[row]:7.2f} s")
    added = least["import torch, reddiff; reddiff.solve"] - least["import torch"]
    lazy = least["import torch; torch.optim.Adam(...)"] - least["import torch"]
    print(f"\nreddiff --help takes {least['reddiff --help']:.2f} s", end="; ")
    print(verdict(least["reddiff --help"], MAX_HELP))
    print(f"reddiff adds {added:.2f} s to import torch; {verdict(added, MAX_ADDED)}")
    print(f"torch's first optimiser imports torch._dynamo, with or without reddiff: {lazy:.2f} s")


if __name__ == "__main__":
    main()
