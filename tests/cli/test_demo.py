"""`reddiff demo`, with few steps."""

from __future__ import annotations

import json

from PIL import Image
from typer.testing import CliRunner

from reddiff.cli import app
from reddiff.cli.demo import EXAMPLES


def run(*words: str):
    return CliRunner().invoke(app, ["demo", *words])


def test_it_saves_every_file_a_sheet_and_a_table(tmp_path):
    result = run("--output", str(tmp_path), "--steps", "2", "--prior", "ffdnet")
    assert result.exit_code == 0, result.output
    for example in EXAMPLES:
        record = json.loads((tmp_path / f"{example.name}.png.json").read_text())
        assert record["metrics"]["psnr"] > 0
        assert (tmp_path / f"{example.name}-degraded.png").exists()
    assert "noise-aware" in result.output
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 3 * 256
        assert sheet.height > len(EXAMPLES) * 256


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("--output", str(tmp_path / "file" / "x"), "--steps", "1")
    assert result.exit_code == 4
    assert result.output.startswith("reddiff: ")


def test_without_options_the_folder_is_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "sheet.png").write_text("")
    result = run()
    assert result.exit_code == 4
    assert "demo/sheet.png" in result.output
