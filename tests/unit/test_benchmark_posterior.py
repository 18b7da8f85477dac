"""`benchmarks/posterior.py`: its tables are complete, on very few runs."""

from __future__ import annotations

from argparse import Namespace

import pytest
from tests import scripts

pytestmark = pytest.mark.usefixtures("untyped")

posterior = scripts.benchmark("posterior")
Results = posterior.Results


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(posterior, "MIXTURE_PROBLEMS", 2)
    monkeypatch.setattr(posterior, "TRUTHS", 8)


def arguments(*methods: str, **settings: object) -> Namespace:
    given = {"methods": list(methods), "runs": 20, "draws": 20, "figure": None, "quick": False}
    return Namespace(**(given | settings))


@pytest.mark.slow
def test_gaussian(capsys):
    posterior.gaussian(Results("posterior"), arguments("ddrm", "pnp-admm", quick=True))
    header, ddrm, admm = rows(capsys.readouterr().out)
    assert header[:4] == ["solver", "cost", "error of the mean", "error of the covariance"]
    assert ddrm[:2] == ["ddrm", "20"]
    assert admm[:4] == ["pnp-admm", "100", "0.000 (0.000)", "1.000 (1.000)"]
    assert admm[4].startswith("0.000")  # of the weak operators


def test_mixtures(capsys, few):
    posterior.mixtures(Results("posterior"), arguments("ddrm"))
    _, exact, ddrm = rows(capsys.readouterr().out)
    assert exact[0] == "exact draws"
    assert ddrm[:2] == ["ddrm", "20"]
    distance = [float(cell.split(" ± ")[0]) for cell in ddrm[2:]]
    assert all(0 < d < 30 for d in distance)


def test_calibration(capsys, few):
    posterior.calibration(Results("posterior"), arguments("pigdm", draws=20))
    table = rows(capsys.readouterr().out)[1:]
    assert [row[1] for row in table] == ["mask", "blur", "mixture"] * 2
    for row in table:
        assert 0 <= float(row[2]) <= float(row[3]) <= 100
        assert sum(float(v) for v in row[4].split()) == pytest.approx(100, abs=4)


def test_points_are_left_out_of_tables_of_draws():
    assert [name for name, _ in posterior.drawing(arguments("red", "ddrm"))] == [
        "exact draws",
        "ddrm",
    ]


@pytest.mark.slow
def test_convergence_and_its_figure(capsys, tmp_path):
    figure = tmp_path / "figure.png"
    posterior.convergence(Results("posterior"), arguments("pnp-admm", figure=figure))
    header, row = rows(capsys.readouterr().out)
    assert header == ["solver", "10", "20", "50", "100", "200", "500"]
    assert row[-1] == "0.000 / 1.000"
    assert figure.stat().st_size > 10_000
