"""Run the tests here beside the real deepinv, azula and ArviZ, in a venv: `make test-peers`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from venvs import run_tests

if __name__ == "__main__":
    sys.exit(run_tests(Path(__file__).parent, {"MPLBACKEND": "Agg"}))
