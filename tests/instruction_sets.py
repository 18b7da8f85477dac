"""Run the exact laws once more with each smaller instruction set that this processor has.

Each rounds in another order, and so do other processors. Called by `make test-sets`; the words it
is given go to pytest, but for `--smallest`: only the smallest set, which differs most. The largest
set is what `make test` uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

SETS = ["default", "avx2", "avx512"]
LAWS = Path(__file__).parent / "laws"
FILES = [LAWS / "test_exact.py", LAWS / "test_early_stop.py"]


def main() -> int:
    """The first exit status that is not 0."""
    own = torch.backends.cpu.get_cpu_capability().lower()
    smaller = SETS[: SETS.index(own)] if own in SETS else []
    if "--smallest" in sys.argv:
        sys.argv.remove("--smallest")
        smaller = smaller[:1]
    for name in smaller:
        sys.stdout.write(f"== ATEN_CPU_CAPABILITY={name}\n")
        sys.stdout.flush()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *map(str, FILES)]
        env = {**os.environ, "ATEN_CPU_CAPABILITY": name}
        code = subprocess.run([*command, *sys.argv[1:]], check=False, env=env).returncode
        if code:
            return code
    sys.stdout.write(f"{', '.join([*smaller, own])}: the exact laws hold\n" if smaller else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
