from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import reddiff

HEAVY = ("torch", "numpy", "scipy", "PIL", "matplotlib", "skimage")


def heavy_modules_after(code: str) -> list[str]:
    report = f"\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1].split()


@pytest.mark.parametrize("name", reddiff.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(reddiff, name) is not None
    assert name in dir(reddiff)


def test_names_are_listed_in_the_stub_once():
    assert len(set(reddiff.__all__)) == len(reddiff.__all__)
    with pytest.raises(AttributeError):
        _ = reddiff.no_such_name


def test_importing_the_package_imports_nothing_heavy():
    assert heavy_modules_after("import reddiff") == []
    assert heavy_modules_after("import reddiff; reddiff.solve") == ["torch", "numpy"]


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], []])
def test_the_command_line_answers_without_torch(arguments):
    code = f"""
import sys
sys.argv = ["reddiff", *{arguments!r}]
from reddiff.cli import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, 2), end.code
"""
    assert heavy_modules_after(code) == []


def test_functions_are_not_replaced_by_the_modules_they_live_in():
    code = """
import importlib, types
import reddiff.solve, reddiff.restore, reddiff.draw, reddiff.sampling
import reddiff
for name in ("solve", "restore", "draw"):
    importlib.reload(importlib.import_module(f"reddiff.{name}"))
    assert isinstance(getattr(reddiff, name), types.FunctionType), name
assert isinstance(reddiff.hooks, types.ModuleType)
assert isinstance(reddiff.snapshot, types.ModuleType)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_that_of_the_installed_package():
    assert reddiff.__version__ == version("reddiff")


def test_python_dash_m_is_the_command_line():
    command = [sys.executable, "-m", "reddiff", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "restore" in done.stdout
