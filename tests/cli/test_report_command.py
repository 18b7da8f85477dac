"""`reddiff report` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import run
from results_files import write_results


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_results(tmp_path / "r.sqlite")


def test_a_page_is_written_and_not_replaced_unless_forced(results: Path) -> None:
    assert "report.html: 0." in run("report", "r.sqlite", "-o", "report.html")
    page = Path("report.html")
    first = page.read_text()
    assert first.startswith("<!doctype html>")
    assert "expected a new file" in run("report", "r.sqlite", "-o", page, code=4)
    run("report", "r.sqlite", "-o", page, "--force", "--title", "Again")
    assert "<h1>Again</h1>" in page.read_text()


def test_two_reports_of_a_file_are_equal(results: Path) -> None:
    for name in ("a.html", "b.html"):
        run("report", "r.sqlite", "-o", name)
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()


def test_tables_are_printed_or_written(results: Path) -> None:
    printed = run("report", "r.sqlite", "--metrics", "psnr/lpips", "--rows", "task")
    assert "| task | degraded | default | dps |" in printed
    assert " [" in printed
    assert " [" not in run("report", "r.sqlite", "--no-intervals")
    run("report", "r.sqlite", "-o", "t.tex")
    assert r"\begin{tabular}" in Path("t.tex").read_text()
    assert run("report", "r.sqlite", "--format", "csv").startswith("prior,task,noise,solver,")


def test_a_table_goes_into_a_document(results: Path) -> None:
    page = Path("page.md")
    page.write_text("<!-- table main -->\n<!-- end main -->\n")
    part = ("--metrics", "psnr", "--no-intervals")
    assert run("report", "r.sqlite", *part, "--into", "page.md:main") == ""
    assert "| solver | sr4 | blur |" in page.read_text()
    words = ("report", "r.sqlite", *part, "--into", "page.md")
    assert "into: expected DOCUMENT:NAME" in run(*words, code=3)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["none.sqlite"], 4, "none.sqlite: expected a file that can be read"),
        (["page.md"], 3, "page.md: expected a results file, got file is not a database"),
        (["r.sqlite", "-o", "no/report.html"], 4, "no/report.html: expected an existing folder"),
        (["r.sqlite", "--only", "solver=dsp"], 3, "did you mean dps?), got dsp"),
        (["r.sqlite", "--format", "html"], 3, "output: expected -o FILE.html, got none"),
    ],
)
def test_errors_are_one_line(results: Path, words: list[str], code: int, line: str) -> None:
    Path("page.md").write_text("# A page\n" * 1000)
    text = run("report", *words, code=code)
    assert line in text
    assert len(text.splitlines()) == 1
    assert sorted(p.name for p in Path().iterdir() if ".lock" not in p.name) == [
        "page.md",
        "r.sqlite",
    ]
