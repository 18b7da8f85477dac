from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from tests.public import public

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


def packages():
    found = [m.name for m in pkgutil.walk_packages(reddiff.__path__, "reddiff.") if m.ispkg]
    return [reddiff, *map(importlib.import_module, found)]


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)
def test_no_public_name_is_hidden_by_a_module(package):
    """Importing a module sets its name in the package, over a function of the same name."""
    modules = {m.name for m in pkgutil.iter_modules(package.__path__)}
    exported = public(package)
    assert {
        n for n in exported & modules if not isinstance(getattr(package, n), ModuleType)
    } == set()


def test_no_function_has_the_name_of_its_module():
    """A command of the command line is one function, in a module of its name."""
    home = Path(reddiff.__file__).parent
    for path in home.rglob("*.py"):
        if path.parent.name != "cli":
            tree = ast.parse(path.read_text())
            assert path.stem not in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_few_modules_are_at_the_top_level():
    folder = Path(reddiff.__path__[0])
    assert len([p for p in folder.glob("*.py") if not p.stem.startswith("__")]) <= 16


def test_the_version_is_that_of_the_installed_package():
    assert reddiff.__version__ == version("reddiff")


def test_python_dash_m_is_the_command_line():
    command = [sys.executable, "-m", "reddiff", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "restore" in done.stdout
