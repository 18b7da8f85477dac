"""The documentation lists all public names, and renders the formulas of docstrings as LaTeX."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
from tests.public import public

DOCS = Path(__file__).parents[2] / "docs"
PUBLIC = (
    "",
    ".metrics",
    ".noise",
    ".interop.deepinv",
    ".operators",
    ".operators.checks",
    ".operators.custom",
    ".priors",
    ".solvers",
    ".uncertainty",
)
MODULES = {"hooks", "operators", "priors", "schedules", "solvers"}  # public, but no objects


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_on_a_page_of_the_api(module):
    pages = " ".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    shown = {path.split(".")[-1] for path in re.findall(r"^::: (\S+)", pages, re.MULTILINE)}
    shown |= set(re.findall(r"`(\w+)`", pages))
    assert public(importlib.import_module(f"reddiff{module}")) - shown - MODULES == set()


def test_the_page_on_the_design_has_all_layers_of_the_contract():
    contract = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = " ".join(contract["contracts"][0]["layers"])
    table = (DOCS / "design.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    names = " ".join(re.findall(r"`([a-z_ ]+)`", table)).split()
    assert sorted(names) == sorted(re.findall(r"reddiff\.(\w+)", layers))


@pytest.fixture
def markdown(monkeypatch):
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(DOCS / "hooks")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return importlib.import_module("docstrings").markdown


@pytest.mark.parametrize(
    ("docstring", "page"),
    [
        ("with :math:`A^T y`.", r"with \(A^T y\)."),
        ("with :math:`A^T\n    y`.", r"with \(A^T y\)."),
        ("As\n\n.. math:: a = b,\n    c\n\nso.", "As\n\n\n\\[a = b, c\\]\n\nso."),
        ("    .. math::\n        a &= b", "\n    \\[\\begin{aligned} a &= b \\end{aligned}\\]\n"),
        ("    | Title (2020),\n    | https://a.org", "    Title (2020),\n    https://a.org"),
    ],
)
def test_formulas_become_latex(markdown, docstring, page):
    assert markdown(docstring) == page
