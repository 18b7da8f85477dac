"""Start-up time of reddiff, and what it adds to the import of torch.

Every number is of a fresh Python process, and the runs of all rows are interleaved. CPU seconds
are compared with the bounds, as they change little on a busy machine; what a row adds is the
difference of the least times of two rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from common import Results, parser, run_tables, table

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
MAX_HELP, MAX_ADDED = 0.5, 0.35  # CPU seconds; over those of import torch


def run(code: str) -> dict[str, float]:
    """The wall and CPU seconds of a process."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(  # noqa: S603  (the rows above)
        [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=os.environ
    )
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    return {"wall": wall, "cpu": cpu - before.children_user - before.children_system}


def startup(results: Results, arguments: argparse.Namespace) -> None:
    rows = dict(list(ROWS.items())[:-1]) if arguments.quick else ROWS
    times: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for k in range((2 if arguments.quick else arguments.runs) + 1):
        for name, code in rows.items():
            row = results.cell(lambda code=code: run(code), row=name, run=k)
            if k:  # the first warms the file cache
                times[name].append(row)
    least = {name: min(r["cpu"] for r in got) for name, got in times.items()}
    walls = {name: [r["wall"] for r in got] for name, got in times.items()}
    table(
        ("process", "wall, median", "wall, least", "CPU, least"),
        [
            (n, f"{statistics.median(w):.2f} s", f"{min(w):.2f} s", f"{least[n]:.2f} s")
            for n, w in walls.items()
        ],
    )
    if arguments.quick:  # two processes of each do not tell
        return
    added = least["import torch, reddiff; reddiff.solve"] - least["import torch"]
    results.expect("reddiff --help, CPU seconds", least["reddiff --help"], most=MAX_HELP)
    results.expect(
        "what reddiff adds, over import torch", added / least["import torch"], most=MAX_ADDED
    )
    lazy = least["import torch; torch.optim.Adam(...)"] - least["import torch"]
    print(f"torch's first optimizer imports torch._dynamo, with or without reddiff: {lazy:.2f} s\n")


TABLES = {"startup": startup}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--runs", type=int, default=7, help="processes of a row (default 7)")
    return run_tables("startup", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
