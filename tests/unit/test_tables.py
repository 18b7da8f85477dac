"""Tables of the documentation beside the numbers that they are made of."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from reddiff.bench.intervals import Interval
from reddiff.bench.ranking import Entry
from reddiff.bench.report.grids import Grid
from reddiff.bench.report.texts import markdown_table
from reddiff.solvers.catalogue import METHODS

ROOT = Path(__file__).parents[2]
NUMBERS = ROOT / "benchmarks" / "results"  # of `reddiff report RESULTS --format csv`
PLACES = [
    (page, name)
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    for name in re.findall(r"\n<!-- table (\S+) -->\n\n\|", page.read_text())
    if (NUMBERS / f"{name}.csv").exists()
]
SOLVERS = (ROOT / "docs" / "solvers.md").read_text()


def table_of(path: Path) -> str:
    """`--metrics psnr/lpips --rows task --no-intervals` of the numbers in a file."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    tasks, solvers = (dict.fromkeys(line[k] for line in lines) for k in ("task", "solver"))
    entries = {
        (line["task"], line["solver"], line["metric"]): Entry(
            {},
            Interval(float(line["mean"])),
            (),
            line["compared"] == "1",
            int(line["rank"]) if line["rank"] else None,
        )
        for line in lines
    }
    metrics = ("psnr", "lpips")
    rows = tuple(
        (t, tuple(tuple(entries.get((t, s, m)) for m in metrics) for s in solvers)) for t in tasks
    )
    return markdown_table(Grid("photo", 0.05, metrics, "task", tuple(solvers), rows, 0))


@pytest.mark.parametrize(("page", "name"), PLACES, ids=lambda v: getattr(v, "name", v))
def test_a_table_has_the_numbers_of_its_file(page: Path, name: str) -> None:
    shown = page.read_text().split(f"<!-- table {name} -->")[1].split(f"<!-- end {name} -->")[0]
    assert shown.strip() == table_of(NUMBERS / f"{name}.csv").strip()


def test_every_file_of_numbers_has_a_table() -> None:
    assert {name for _, name in PLACES} == {path.stem for path in NUMBERS.glob("*.csv")} != set()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows_after(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading."""
    text = SOLVERS.split(f"\n{heading}\n")[1]
    lines = re.search(r"^\|[^\n]*\n\|[-| ]*\n((?:\|[^\n]*\n)*)", text, re.MULTILINE)
    assert lines is not None
    return [cells(line) for line in lines[1].splitlines()]


def test_the_list_of_solvers_is_that_of_the_catalogue() -> None:
    rows = {
        m[1]: row
        for row in rows_after("## All solvers")
        if (m := re.search(r"\(`(\S+)`\)", row[0]))
    }
    assert set(rows) == set(METHODS)
    for name, row in rows.items():
        cost = METHODS[name].make(None, None, METHODS[name].steps).cost
        assert f"({METHODS[name].steps})" in row[4]
        if numbers := re.fullmatch(r"(\d+)(?: \+ (\d+))?", row[3]):
            assert (int(numbers[1]), int(numbers[2] or 0)) == (cost.evaluations, cost.vjps), name


MEASURED = {  # a row of the list -> that of the measured errors, where the names differ
    "NoiseAwareREDDiff": "noise-aware, realism 1",
    "REDDiff": "RED-diff",
    "REDDiff, learned spread": "RED-diff, learned spread",
    "DDNMPlus": "DDNM+",
    "PnPDM": "PnP-DM",
    "PnPHQS": "PnP-HQS",
    "PnPADMM": "PnP-ADMM",
}


def test_the_list_of_solvers_has_the_measured_errors() -> None:
    measured = {row[0]: row[2:] for row in rows_after("## Measured: Gaussian posteriors")}
    checked = 0
    for row in rows_after("## All solvers"):
        name = re.sub(r"[`\[\]]|\(.*?\)", "", row[0]).strip()
        if not row[-1]:
            continue
        errors = [text.split()[0] for text in measured[MEASURED.get(name, name)]]
        for said, value in zip(row[-2:], errors, strict=True):
            assert (
                abs(float(said) - float(value)) <= 0.5 * 10 ** -len(said.partition(".")[2]) + 1e-9
            )
        checked += 1
    assert checked >= 15
