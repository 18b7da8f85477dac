"""Reports: what results files hold, as a page and as tables."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sqlite3
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from reddiff import InvalidArgument
from reddiff.bench.intervals import Interval
from reddiff.bench.report import strips
from reddiff.bench.report.figures import Axis, Point, dot_plot, scatter
from reddiff.bench.report.grids import make_grids
from reddiff.bench.report.reading import load_results
from reddiff.bench.report.texts import latex, markdown, table_csv
from reddiff.bench.report.writing import (
    fill,
    kind_of,
    part_of,
    report_text,
    single_table,
    summary_of,
)
from reddiff.bench.summary import Cell
from reddiff.errors import PictureError
from results_files import write_results

SR = Cell("photo", "sr4", 0.05)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    published = [
        {"task": "sr4", "method": "DPS", "metric": "psnr", "value": 24.4, "source": "A & B, 2023"}
    ]
    return write_results(folder / "one.sqlite", diverged=[("dps", 1)], published=published)


@pytest.fixture(scope="module")
def loaded(results):
    return load_results([results])


def html(loaded, **options):
    return report_text(loaded, summary_of(loaded), "html", **options)


class Checker(HTMLParser):
    """Whether tags are closed in order, and what the page has."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.images, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(text):
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def test_the_page_is_whole_and_asks_for_nothing(loaded):
    text = html(loaded)
    page = checked(text)
    assert "default-src 'none'" in text
    assert not [a for tag, a in page.tags if tag in ("link", "iframe") or "srcset" in a]
    assert all(a["src"].startswith("data:") for _, a in page.tags if "src" in a)
    assert "http" not in re.sub(r"data:image/png;base64,[\w+/=]+", "", text).replace(
        "http-equiv", ""
    )


def test_pictures_and_figures_say_what_they_show(loaded):
    text = html(loaded)
    page = checked(text)
    assert "PSNR / LPIPS below each picture" in text
    assert "memory beyond one network call (MB)" in text
    thumbs = [a for tag, a in page.tags if tag == "img" and a.get("src")]
    # Truth, degraded, and two solvers (one diverged once) of 3 images and 2 tasks.
    assert 3 * 2 * 4 - 2 <= len(thumbs) <= 3 * 2 * 4 + 6
    assert all(len(a["alt"]) > 10 for a in thumbs)
    drawn = [a for tag, a in page.tags if tag == "svg" and "aria-hidden" not in a]
    assert drawn
    assert all(a["role"] == "img" and a["aria-label"] for a in drawn)
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")


def test_names_from_a_file_cannot_become_markup(tmp_path):
    bad = '<img src=x onerror="alert(1)">'
    path = write_results(tmp_path / "bad.sqlite", solvers=["degraded", bad], tasks=[bad], images=2)
    text = html(load_results([path]), title=bad, baseline=bad)
    assert "<img src=x" not in text
    checked(text)


def test_the_page_says_who_has_no_result_and_shows_published_numbers(loaded):
    text = html(loaded)
    assert "a value became NaN or inf" in text
    assert "5 of 6 images" in text
    assert "A &amp; B, 2023" in text


def test_more_pictures_than_the_bound_are_left_out_and_counted(loaded, monkeypatch):
    whole = html(loaded, pictures=6).count("<img")
    monkeypatch.setattr(strips, "MOST_BYTES", 3000)
    text = html(loaded, pictures=6)
    assert 2 < text.count("<img") < whole
    assert re.search(r"\d+ more images were left out", text)


def test_without_pictures_and_draws_the_page_has_no_such_sections(tmp_path):
    path = write_results(tmp_path / "few.sqlite", solvers=["degraded", "default"], images=2)
    text = html(load_results([path]), pictures=0)
    assert 'id="pictures"' not in text
    assert 'id="calibration"' not in text
    assert 'id="not-solved"' not in text


def test_differences_are_to_the_best(loaded):
    text = html(loaded)
    (figure,) = re.findall(r'<svg[^>]*aria-label="sr4[^"]*difference in PSNR.*?</svg>', text)
    assert "dps: +0.00 (the best)" in figure
    assert re.search(r"default: -\d", figure)
    assert "degraded" not in figure


def test_differences_are_to_the_baseline(loaded):
    text = html(loaded, baseline="default")
    assert "minus that of default" in text
    assert re.search(r"dps: [+-]\d.*better on \d of 5 images", text)
    with pytest.raises(InvalidArgument, match=r"baseline: expected a solver .*did you mean dps"):
        html(loaded, baseline="dsp")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [[1.0], [1.0, 1.0], [0.001, 1000.0], [930, 1000], [20, 50, 100], [3e-7, 4e-7], [0.35, 0.375]],
)
def test_figures_are_drawn_of_any_values(log, values):
    points = [
        Point(f"s{i}", i, Interval(v), Interval(v, v / 2, 2 * v), "") for i, v in enumerate(values)
    ]
    for svg in (
        scatter("t", points, Axis("x", log=log), Axis("y"), diagonal=True),
        dot_plot("t", points, Axis("x", log=log, show=1.0)),
    ):
        tree = ET.fromstring(svg)
        texts = [e.text for e in tree.iter("text")]
        assert len([t for t in texts if t and re.fullmatch(r"[-\d.e+]+", t)]) >= 2
        places = [float(n) for n in re.findall(r"translate\(([\d.]+),", svg)]
        assert all(0 <= p <= 340 for p in places)
        for tick in [e for e in tree.iter("text") if e.get("class") == "up"]:
            assert float(tick.get("x")) - 6.2 * len(tick.text) > 16, "it covers the axis title"


def test_labels_are_shortened_only_where_they_are_long():
    long = "weighting weighting=power2over3"
    points = [Point(name, 0, Interval(1.0), Interval(0), "") for name in ("PnP-ADMM 30", long)]
    tree = ET.fromstring(dot_plot("t", points[:1], Axis("x")))
    assert "PnP-ADMM 30" in [e.text for e in tree.iter("text")]
    tree = ET.fromstring(dot_plot("t", points, Axis("x")))
    name, short = [e for e in tree.iter("text") if e.get("class") == "row"]
    assert name.text == "PnP-ADMM 30"
    assert short.text.endswith("power2over3")
    assert "…" in short.text
    assert len(short.text) * 7 < float(short.get("x")), "it would leave the figure"


def test_markdown_marks_the_best_and_the_second(loaded):
    summary = summary_of(loaded)
    text = markdown(make_grids(summary, ("psnr", "lpips"), "task"))
    head, rule, *lines = text.split("\n\n")[1].splitlines()
    assert head == "| task | degraded | default | dps |"
    assert rule == "|---|---|---|---|"
    assert re.match(r"\| sr4 \| [\d.]+ / [\d.]+ \| \*[\d.]+\* / \*[\d.]+\* \| \*\*", lines[0])
    assert "means over 5 of 6 images" in text
    assert "[" in markdown(make_grids(summary, ("psnr",)), intervals=True)


def test_latex_is_escaped(tmp_path):
    path = write_results(tmp_path / "r.sqlite", solvers=["degraded", "a_b & 100%"], images=2)
    text = latex(make_grids(summary_of(load_results([path])), ("psnr",)))
    assert r"a\_b \& 100\% & \textbf{" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_csv_has_every_entry(loaded):
    summary = summary_of(loaded)
    lines = list(csv.DictReader(io.StringIO(table_csv(summary))))
    assert len(lines) == len(summary.entries)
    line = next(v for v in lines if (v["task"], v["solver"], v["metric"]) == ("sr4", "dps", "psnr"))
    entry = summary.get(SR, "dps", "psnr")
    assert float(line["mean"]) == entry.mean.mean
    assert float(line["low"]) == entry.mean.low
    assert (line["images"], line["not_ok"], line["rank"]) == ("5", "1", "1")


def test_a_name_that_is_a_formula_is_none_in_csv(tmp_path):
    path = write_results(tmp_path / "r.sqlite", solvers=["=1+1"], images=1)
    assert "'=1+1" in table_csv(summary_of(load_results([path])))


def test_only_a_part(loaded):
    part = summary_of(part_of(loaded, "task=sr4,solver=dps,solver=default,noise=0.05"))
    assert part.cells == (SR,)
    assert part.solvers == ("default", "dps")
    text = html(part_of(loaded, "task=sr4,solver=default"))
    assert "6 images, 1 task, 1 noise level, 1 prior, 1 solver." in text
    assert "a value became NaN or inf" not in text
    for only, words in (
        ("task=sr8", "only task: expected a task of the results.*did you mean sr4"),
        ("tsk=sr4", "only: expected a key.*did you mean task"),
        ("sr4", "only: expected KEY=VALUE"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            part_of(loaded, only)


def test_two_files_stand_side_by_side(results, tmp_path):
    other = write_results(tmp_path / "two.sqlite", solvers=["default", "ddrm"])
    both = load_results([results, other])
    assert both.solvers == ("degraded", "default", "dps", "default (two)", "ddrm")
    summary = summary_of(both)
    assert summary.get(SR, "ddrm", "psnr").compared
    strip = both.strip(SR, "image0")
    assert set(strip.restored) == set(both.solvers)
    checked(html(both))


def test_labels_of_many_files_stay_apart(results, tmp_path):
    paths = [results]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write_results(tmp_path / folder / "r.sqlite", solvers=["default"]))
    assert load_results(paths).solvers[-2:] == ("default (r)", "default (r 2)")


def test_solvers_that_are_in_no_spec_are_shown(tmp_path):
    path = write_results(tmp_path / "r.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '{}' WHERE key = 'spec'")
    db.close()
    loaded = load_results([path])
    assert loaded.solvers == ("degraded", "default", "dps")
    checked(html(loaded))


def test_files_of_other_measurements_are_refused(results, tmp_path):
    other = write_results(tmp_path / "two.sqlite", salt="other")
    with pytest.raises(InvalidArgument, match="RESULTS: expected files with the same measurements"):
        load_results([results, other])


def test_what_is_no_results_file_is_refused(results, tmp_path):
    page = tmp_path / "page.sqlite"
    page.write_text("<!doctype html>" * 100)
    with pytest.raises(PictureError, match="expected a results file, got file is not a database"):
        load_results([page])
    with pytest.raises(PictureError, match=r"expected results of format 1 .* got 7"):
        load_results([write_results(tmp_path / "new.sqlite", form="7")])
    with pytest.raises(PictureError, match="expected results, got none yet"):
        load_results([write_results(tmp_path / "empty.sqlite", images=0)])
    with pytest.raises(PictureError, match="expected a file that can be read"):
        load_results([tmp_path / "none.sqlite"])
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).executescript("CREATE TABLE a(b)").close()
    with pytest.raises(PictureError, match="got another database"):
        load_results([other])
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(results.read_bytes()[:9000])
    with pytest.raises(PictureError, match="expected a results file"):
        load_results([cut])


def test_a_file_is_only_read(results):
    before = results.read_bytes(), sorted(p.name for p in results.parent.iterdir())
    html(load_results([results]))
    assert before == (results.read_bytes(), sorted(p.name for p in results.parent.iterdir()))


def test_metrics_that_are_not_there_are_refused(loaded):
    with pytest.raises(InvalidArgument, match=r"metrics: expected a metric .*did you mean psnr"):
        report_text(loaded, summary_of(loaded), "md", metrics="psnr/pnsr")


def test_a_table_is_put_into_a_document(loaded, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table main -->\nold\n<!-- end main -->\nafter\n")
    summary = summary_of(loaded)
    table = single_table(summary, "psnr/lpips", "task")
    fill(page, "main", table)
    text = page.read_text()
    assert text.startswith("before\n<!-- table main -->\n\n| task |")
    assert text.endswith("|\n\n<!-- end main -->\nafter\n")
    fill(page, "main", table)
    assert page.read_text() == text
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    fill(page, "main", table)
    assert page.read_bytes() == text.replace("\n", "\r\n").encode()
    with pytest.raises(InvalidArgument, match=r"into: expected a document with one <!-- table x"):
        fill(page, "x", table)
    with pytest.raises(InvalidArgument, match=r"into: expected one table: choose .* got 4 tables"):
        single_table(summary, None, "task")
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("output", "chosen", "kind"),
    [
        ("a.html", None, "html"),
        ("a.tex", None, "latex"),
        (None, None, "md"),
        ("a.txt", "csv", "csv"),
    ],
)
def test_the_format_is_that_of_the_ending(output, chosen, kind):
    assert kind_of(output and Path(output), chosen) == kind


def test_formats_that_do_not_exist_are_refused():
    with pytest.raises(InvalidArgument, match=r"output: expected a name that ends with .html"):
        kind_of(Path("a.pdf"), None)
    with pytest.raises(InvalidArgument, match=r"format: expected a format: html, md, latex, csv"):
        kind_of(None, "pdf")
    with pytest.raises(InvalidArgument, match=r"output: expected -o FILE.html, got none"):
        kind_of(None, "html")


NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def screenshot(page: Path, width: int, folder: Path) -> tuple[np.ndarray, list[str]]:
    """The pixels of a page in Chromium, and what its console says."""
    out = folder / "shot.png"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", f"--window-size={width},1600", f"--screenshot={out}"]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return np.asarray(Image.open(out).convert("RGB")), console


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [1240, 500])
def test_the_page_in_a_browser(loaded, tmp_path, width):
    page = tmp_path / "report.html"
    page.write_text(html(loaded))
    pixels, console = screenshot(page, width, tmp_path)
    assert console == []
    colors = {tuple(c) for c in pixels.reshape(-1, 3)}
    assert len(colors) > 200, "pictures and figures, and no blank page"
    assert pixels.shape[1] == width
    edge = {tuple(c) for c in pixels[:, -4:].reshape(-1, 3)}
    assert len(edge) <= 2, "something is wider than the page, whose edge has one line"


USE = """
const say = (name, value) => console.log(`${name}=${value}`);
const all = (selector) => [...document.querySelectorAll(selector)];
const shown = (metric) => all(`.table[data-metric=${metric}]:not([hidden])`).length;
say("before", [shown("psnr"), shown("lpips")]);
const metric = document.querySelector("select[data-key=metric]");
metric.value = "lpips";
metric.dispatchEvent(new Event("change"));
say("after", [shown("psnr"), shown("lpips")]);
document.querySelectorAll(".key")[2].click();
say("lit", new Set(all(".point.lit").map((p) => p.dataset.solver)).size);
const viewer = document.getElementById("viewer");
document.querySelector(".thumb").click();
say("open", viewer.open);
const alt = () => document.getElementById("large").alt.split(":")[0];
say("first", alt());
viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
say("second", alt());
viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
say("last", alt());
document.getElementById("theme").click();
say("theme", document.documentElement.dataset.theme);
null.error;
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_the_page_answers_and_its_errors_are_seen(loaded, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(html(loaded).replace("</body>", f"<script>{{{USE}}}</script></body>"))
    _, console = screenshot(page, 800, tmp_path)
    said = dict(re.findall(r'"(\w+)=([\w,]+)"', "\n".join(console)))
    assert said == {
        "before": "1,0",
        "after": "0,1",
        "lit": "1",
        "open": "true",
        "first": "truth",
        "second": "degraded",
        "last": "dps",
        "theme": "dark",
    }
    assert "TypeError" in console[-1]
