"""`reddiff bench` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.unit.test_bench_spec import SPEC
from typer.testing import CliRunner

from reddiff.cli.commands import app

EXPECT = [{"metric": "psnr", "better": "ours", "than": "theirs", "task": "holes"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"expect": EXPECT}))
    return tmp_path


def bench(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["bench", *words])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


def test_a_bench_prints_a_line_per_job_a_table_and_its_verdict(folder: Path) -> None:
    text = bench("spec.yaml", "--limit", "1")
    assert (folder / "spec.sqlite").exists()
    assert "field, holes at 0.05, ours: 1 image, psnr" in text
    assert "s left" in text
    assert "ok     field, holes at 0.05: psnr of ours better than theirs by 0" in text
    again = bench("spec.yaml", "--limit", "1")
    assert "spec.sqlite already has 4 results" in again
    assert "ours: 1 image" not in again


def test_an_expectation_that_fails_sets_the_code(folder: Path) -> None:
    worse = [{"metric": "psnr", "better": "theirs", "than": "ours", "task": "holes"}]
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"expect": worse}))
    text = bench("spec.yaml", "--only", "task=holes", code=1)
    assert "FAILED field, holes at 0.05: psnr of theirs better than ours" in text


def test_a_dry_run_has_the_cost_and_leaves_no_file(folder: Path) -> None:
    text = bench("spec.yaml", "--dry-run", "--only", "solver=theirs")
    assert "theirs" in text
    assert "8" in text  # 2 tasks x 2 images x 2 steps
    assert "on one worker, by an evaluation of" in text
    assert not list(folder.glob("*.sqlite*"))
    bench("spec.yaml", "--limit", "1")
    assert "by the results in the file" in bench("spec.yaml", "--dry-run")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("quik",), 3, "did you mean quick?"),
        (("absent.yaml",), 4, "absent.yaml"),
        (("spec.yaml", "--only", "solver=our"), 3, "did you mean ours?"),
        (("spec.yaml", "--only", "solvr=ours"), 3, "did you mean solver?"),
        (("spec.yaml", "--only", "ours"), 3, "expected KEY=VALUE"),
        (("spec.yaml", "--prior", "field"), 3, "expected LABEL=SOURCE"),
        (("spec.yaml", "--prior", "feild=photo"), 3, "did you mean field?"),
        (("spec.yaml", "--images", "no.png"), 4, "no.png"),
        (("spec.yaml", "-o", "none/r.sqlite"), 3, "in an existing folder, got no none"),
        (("spec.yaml", "-o", "."), 3, "expected a results file, got a folder"),
        (("spec.yaml", "-o", "/proc/r.sqlite"), 4, "expected a results file that can be made"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    text = bench(*words, code=code)
    assert said in text
    assert len(text.strip().splitlines()) == 1
    assert not list(folder.glob("*.sqlite"))


def test_another_spec_is_refused_and_new_keeps_the_file(folder: Path) -> None:
    bench("spec.yaml", "--limit", "1", "-o", "r.sqlite", "--only", "solver=ours")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"seed": 1}))
    text = bench("spec.yaml", "-o", "r.sqlite", code=3)
    assert "r.sqlite: expected results of this spec (--new" in text
    text = bench("spec.yaml", "-o", "r.sqlite", "--new", "--limit", "1")
    assert "renamed to r.1.sqlite" in text
    assert (folder / "r.1.sqlite").exists()
