"""Run the tests here against the real Ray, in a venv of its own: `make test-ray`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from venvs import run_tests

# Nothing is sent anywhere.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}

if __name__ == "__main__":
    sys.exit(run_tests(Path(__file__).parent, ENVIRONMENT))
