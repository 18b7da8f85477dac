"""The oracle of a grid: the setting that is best in each cell, named as chosen by the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from reddiff import InvalidArgument
from reddiff.bench.report.oracle import with_oracle
from reddiff.bench.report.reading import Loaded, load_results
from reddiff.bench.report.writing import part_of, report_text, summary_of
from reddiff.bench.summary import Cell
from results_files import write_results

SR = Cell("photo", "sr4", 0.05)
GRID = ("degraded", "grid lr=1", "grid lr=2", "dps")
LABEL = "grid (oracle: psnr)"


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:  # the later a solver is, the better
    return load_results([write_results(tmp_path / "r.sqlite", solvers=GRID)])


def test_it_repeats_the_best_setting_and_takes_no_rank(loaded: Loaded) -> None:
    summary = summary_of(with_oracle(loaded, "grid"))
    for metric in ("psnr", "lpips"):
        best, oracle = (summary.get(SR, s, metric) for s in ("grid lr=2", LABEL))
        assert best is not None
        assert oracle is not None
        assert oracle.values == best.values
        assert (best.rank, oracle.rank) == (2, None)
        assert oracle.gap == best.gap


def test_it_is_chosen_by_the_metric_that_is_named(loaded: Loaded) -> None:
    for row in loaded.rows:  # now the first setting has the lower LPIPS
        if row["solver"] == "grid lr=1":
            row["metrics"]["lpips"] = 0.0
    both = with_oracle(with_oracle(loaded, "grid"), "grid:lpips")
    assert both.oracles == {
        LABEL: dict.fromkeys((SR, SR._replace(task="blur")), "grid lr=2"),
        "grid (oracle: lpips)": dict.fromkeys((SR, SR._replace(task="blur")), "grid lr=1"),
    }


def test_a_setting_that_diverged_somewhere_is_not_chosen(tmp_path: Path) -> None:
    path = write_results(tmp_path / "r.sqlite", solvers=GRID, diverged=[("grid lr=2", 0)])
    found = with_oracle(load_results([path]), "grid")
    assert set(found.oracles[LABEL].values()) == {"grid lr=1"}


def test_reports_show_what_it_took(loaded: Loaded) -> None:
    found = with_oracle(loaded, "grid")
    for kind in ("md", "latex", "html"):
        text = report_text(found, summary_of(found), kind)
        assert "grid (oracle: psnr)" in text
        assert "chosen with the truth" in text
    strip = found.strip(SR, "image0")
    assert strip is not None
    assert strip.restored[LABEL] == strip.restored["grid lr=2"]
    part = part_of(found, f"solver={LABEL},solver=dps")
    assert summary_of(part).solvers == ("dps", LABEL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gird", "did you mean grid?"),
        ("dps", "expected a grid of the results"),
        ("grid:psrn", "did you mean psnr?"),
        ("grid:seconds", "expected a metric"),
        ("grid:ssim", "expected results of grid with ssim, got none"),
    ],
)
def test_what_cannot_be_chosen_is_refused(loaded: Loaded, text: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        with_oracle(loaded, text)
    assert said in str(error.value)
