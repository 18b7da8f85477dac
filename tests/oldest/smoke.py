"""The package and its command line, without pytest: run by run.py with the oldest versions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import types
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

import reddiff


def cli(*words: object, code: int = 0) -> str:
    """What the command line prints."""
    command = [sys.executable, "-c", "import sys; from reddiff.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, *map(str, words)], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def main() -> None:
    """Names, pictures in several formats, one restoration."""
    for pin in sys.argv[1:]:
        name, wanted = pin.split("==")
        got = version(name)
        assert got == wanted or got.startswith(f"{wanted}."), f"{name}: {got}, not {wanted}"
    for name in reddiff.__all__:
        getattr(reddiff, name)
    assert isinstance(reddiff.solve, types.FunctionType)  # no function turns into its module

    assert reddiff.__name__ in cli("--version")
    for command in ("restore", "degrade", "sample", "check", "show", "demo"):
        assert "Usage" in cli(command, "--help")
    for command in ("tasks", "priors", "solvers"):
        assert cli(command)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ramp = np.linspace(40, 210, 48).astype(np.uint8)
        planes = [np.tile(ramp, (48, 1)), np.tile(ramp[:, None], (1, 48)), np.full((48, 48), 90)]
        Image.fromarray(np.stack(planes, -1).astype(np.uint8)).save(place / "photo.png")
        task = ("--task", "inpaint", "--mask", "random:0.5")
        cli("degrade", place / "photo.png", "--output", place / "y.tiff", *task)
        mask = ("--task", "inpaint", "--mask", place / "y.mask.png")
        cli("restore", place / "y.tiff", "--output", place / "x.png", *mask, "--steps", 5)
        assert Image.open(place / "x.png").size == (48, 48)
        absent = ("restore", place / "absent.png", "--output", place / "z.png", "--task", "denoise")
        assert "absent.png" in cli(*absent, code=4)
    sys.stdout.write(f"reddiff and its command line work with {', '.join(sys.argv[1:])}\n")


if __name__ == "__main__":
    main()
