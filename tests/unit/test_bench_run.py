"""Running a benchmark: what is stored, what is not run again, who is kept out."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.test_bench_spec import SPEC, written

from reddiff import Keys, PictureError
from reddiff.bench import running
from reddiff.bench.context import Context
from reddiff.bench.loading import load_spec
from reddiff.bench.locking import move_aside
from reddiff.bench.planning import plan
from reddiff.bench.rows import Result
from reddiff.bench.running import claim, run
from reddiff.bench.solving import Bench
from reddiff.bench.store import Results
from reddiff.bench.verdict import judge

pytestmark = pytest.mark.usefixtures("untyped")


def context_of(folder: Path, limit: int | None = None, **changes: Any) -> Context:
    return Context(load_spec(written(folder, **changes)), limit)


def run_all(path: Path, context: Context, only: str | None = None, **more: Any) -> int:
    """Run what is missing; how many jobs that were."""
    results = Results.open(path)
    try:
        claim(results, context)
        todo, _ = plan(context, results.done(), only)
        run(results, context, todo, **more)
    finally:
        results.close()
    return len(todo)


def rows_of(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    results = Results.read(path)
    rows = {(r["task"], r["image"], r["solver"]): r for r in results.rows()}
    results.close()
    return rows


def test_a_run_stores_every_cell_once_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    path, context = tmp_path / "r.sqlite", context_of(tmp_path)
    assert run_all(path, context, only="solver=ours,task=noise") == 1
    assert run_all(path, context) == 3
    assert run_all(path, context) == 0
    rows = rows_of(path)
    assert len(rows) == 8
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert all(row["evaluations"] == 2 for k, row in rows.items() if k[2] == "theirs")
    assert all(row["metrics"]["psnr"] > 10 for row in rows.values())


def test_all_solvers_see_one_y_that_depends_on_the_image_alone(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.sqlite", tmp_path / "part.sqlite"
    context = context_of(tmp_path)
    run_all(whole, context)
    run_all(part, context, only="image=draw 1,solver=theirs")
    hashes = []
    for path in (whole, part):
        with sqlite3.connect(path) as db:
            query = "SELECT task, image, y_hash FROM measurement WHERE image = 'draw 1'"
            hashes.append(sorted(db.execute(query).fetchall()))
    assert hashes[0] == hashes[1]
    assert len({h for _, _, h in hashes[0]}) == 2


@pytest.mark.parametrize("task", ["noise", "holes"])
def test_a_batch_gives_what_each_image_gives_alone(tmp_path: Path, task: str) -> None:
    paths = [tmp_path / f"{size}.sqlite" for size in (1, 2)]
    for size, path in enumerate(paths, 1):
        run_all(path, context_of(tmp_path, batch=size), only=f"task={task}")
    alone, together = map(rows_of, paths)
    assert {row["batch"] for row in alone.values()} == {1}
    assert {row["batch"] for row in together.values()} == {2}
    for key, row in alone.items():
        assert row["metrics"]["psnr"] == pytest.approx(together[key]["metrics"]["psnr"], abs=1e-9)


TASKS = {
    "small": {"task": "sr", "scale": 4},
    "blur": {"task": "deblur", "kernel": "gaussian:0.8"},
    "circular": {"task": "circular-blur", "kernel": "gaussian:0.8"},
    "hdr": {"task": "hdr"},
    "jpeg": {"task": "jpeg:40"},
    "phase": {"task": "phase"},
    "nonlinear": {"task": "nonlinear:3"},
    "fourier": {"task": "fourier:0.3"},
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_run_and_measured(tmp_path: Path, task: str) -> None:
    context = context_of(tmp_path, tasks={task: TASKS[task]}, metrics=["psnr", "residual"])
    (job, *_), _ = plan(context, {}, "solver=ours")
    measurements, results = Bench(context).run(job)
    assert len(measurements) == len(results) == 2
    assert [r.status for r in results] == ["ok", "ok"], results[0].error
    assert all({"psnr", "residual"} <= set(r.metrics) for r in results)
    assert all(r.picture is not None and r.picture.startswith(b"\x89PNG") for r in results)
    assert len({m.y_hash for m in measurements}) == 2


def test_what_a_solver_cannot_do_is_a_result(tmp_path: Path) -> None:
    tasks, solvers = {"a": TASKS["phase"]}, {"ddrm": {"solver": "ddrm", "steps": 2}}
    path = tmp_path / "r.sqlite"
    run_all(path, context_of(tmp_path, tasks=tasks, solvers=solvers))
    rows = rows_of(path).values()
    assert {row["status"] for row in rows} == {"unsupported"}
    assert "SpectralOperator" in next(iter(rows))["error"]
    assert all(row["metrics"] == {} for row in rows)


def test_a_diverged_lane_leaves_no_metrics(tmp_path: Path) -> None:
    solvers = {"bad": {"solver": "red-diff", "steps": 3, "lr": 1e200, "optimizer": "sgd"}}
    path = tmp_path / "r.sqlite"
    run_all(path, context_of(tmp_path, solvers=solvers, tasks={"a": {"task": "denoise"}}))
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT status, metrics, picture FROM result").fetchall()
    assert [(s, m) for s, m, _ in found if s != "ok"] == [("diverged", "{}")] * len(found)
    assert all(picture is None for _, _, picture in found)


def test_draws_have_a_spread_and_a_coverage(tmp_path: Path) -> None:
    solvers = {"draws": {"solver": "noise-aware", "steps": 12, "realism": 1, "runs": 19}}
    changes = {"solvers": solvers, "metrics": ["psnr", "psnr_oracle", "exact_rmse"]}
    path = tmp_path / "r.sqlite"
    run_all(path, context_of(tmp_path, **changes), only="task=holes")
    for row in rows_of(path).values():
        scores = row["metrics"]
        assert 0.005 < scores["spread"] < 0.3
        assert 0.7 < scores["coverage_90"] <= 1
        assert scores["exact_rmse"] < 0.05
        assert scores["psnr_oracle"] < scores["psnr"]  # a draw is further away than the mean
        assert row["evaluations"] == 19 * 12


def test_the_exact_mean_is_the_posterior_mean(tmp_path: Path) -> None:
    """Of y = x + noise of level s and a prior of variance c in each mode, c / (c + s^2) y."""
    context = context_of(tmp_path, metrics=["psnr", "exact_rmse"])
    (job, *_), _ = plan(context, {}, "solver=theirs,task=noise")
    problem = context.measured(job.cell, job.images).problem
    field = context.prior("field")
    mean = context.exact_mean(job.cell, job.images)
    assert mean is not None
    s = torch.full((len(problem),), 0.1, dtype=torch.float64)
    torch.testing.assert_close(mean, field(problem.y, s), rtol=1e-6, atol=1e-8)


def test_a_file_of_something_else_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.sqlite"
    run_all(path, context_of(tmp_path, limit=1))
    for changes, words in (
        ({"seed": 5}, "another"),
        ({"priors": {"field": {"field": {"std": 0.3}}}}, "another"),
        ({"images": {"drawn": 1, "size": 24}}, "another draw 0"),
    ):
        with pytest.raises(PictureError, match=words) as caught:
            run_all(path, context_of(tmp_path, limit=1, **changes))
        assert "--new" in str(caught.value)
    monkeypatch.setattr(running, "versions", lambda: {"reddiff": "9.9"})
    with pytest.raises(PictureError, match="--accept-version"):
        run_all(path, context_of(tmp_path))
    assert len(rows_of(path)) == 4
    other = move_aside(path)
    assert other == tmp_path / "r.1.sqlite"
    assert len(rows_of(other)) == 4
    assert not path.exists()


def test_a_file_that_is_no_results_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    path.write_bytes(b"no database at all, and longer than a header of SQLite" * 40)
    for open_it in (Results.open, Results.read):
        with pytest.raises(PictureError, match="not a database"):
            open_it(path)
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine(x)")
    with pytest.raises(PictureError, match="got another database"):
        Results.open(path)
    with pytest.raises(PictureError, match=r"absent\.sqlite"):
        Results.read(tmp_path / "absent.sqlite")


def test_a_file_that_was_killed_while_it_was_made_is_a_new_one(tmp_path: Path) -> None:
    for name in ("nothing.sqlite", "empty.sqlite"):
        path = tmp_path / name
        with sqlite3.connect(path) as db:
            if name == "empty.sqlite":  # a header without tables
                db.execute("PRAGMA user_version = 1")
        db.close()
        assert path.stat().st_size == (4096 if name == "empty.sqlite" else 0)
        assert run_all(path, context_of(tmp_path), only="solver=ours") == 2


def test_a_second_runner_is_kept_out_and_a_reader_is_not(tmp_path: Path) -> None:
    path, context = tmp_path / "r.sqlite", context_of(tmp_path)
    run_all(path, context, only="solver=ours")
    first = Results.open(path)
    with pytest.raises(PictureError, match="one that is in use"):
        Results.open(path)
    with pytest.raises(PictureError, match="one that is in use"):
        move_aside(path)
    assert len(rows_of(path)) == 4
    first.close()
    assert run_all(path, context) == 2


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    path, context = tmp_path / "r.sqlite", context_of(tmp_path)
    run_all(path, context, only="solver=ours")
    before = rows_of(path)
    results = Results.open(path)
    pages = results._db.execute("PRAGMA page_count").fetchone()[0]
    results._db.execute(f"PRAGMA max_page_count = {pages}")
    todo, _ = plan(context, results.done())
    large = [Result((m.key), "big", "ok", picture=bytes(1 << 20)) for m in _first(context, todo)]
    with pytest.raises(PictureError, match="full") as caught:
        results.add([], large)
    assert "\n" not in str(caught.value)
    assert caught.value.errno is not None
    results.close()
    assert rows_of(path) == before
    assert run_all(path, context) == 2


def _first(context: Context, todo: list[Any]) -> list[Any]:
    return Bench(context).run(todo[0])[0]


def test_expectations_are_judged_in_every_cell(tmp_path: Path) -> None:
    expect = [
        {"metric": "psnr", "better": "ours", "than": "theirs"},
        {"metric": "psnr", "solver": "ours", "least": 100, "task": "holes"},
        {"metric": "evaluations", "better": "ours", "than": "theirs", "by": 1},
    ]
    context = context_of(tmp_path, expect=expect)
    path = tmp_path / "r.sqlite"
    assert all(v.holds is None for v in judge(context.spec, []))
    run_all(path, context)
    rows = list(rows_of(path).values())
    verdicts = judge(context.spec, rows)
    broken = [row | {"status": "diverged"} if row["solver"] == "ours" else row for row in rows]
    assert [v.holds for v in judge(context.spec, broken)][:2] == [False, False]
    first, second = verdicts[:2], verdicts[2]
    assert [v.holds for v in first] == [True, True]
    assert all(v.value is not None and v.value > 0 for v in first)
    assert second.holds is False
    # Denoising takes the default one evaluation where RED-diff makes two; elsewhere both make two.
    assert [(v.value, v.holds) for v in verdicts[3:]] == [(0, False), (0, False)]


@pytest.mark.slow
def test_several_processes_give_what_one_gives(tmp_path: Path) -> None:
    context = context_of(tmp_path, batch=1)
    paths = [tmp_path / "one.sqlite", tmp_path / "two.sqlite"]
    for workers, path in enumerate(paths, 1):
        run_all(path, context, workers=workers)
    one, two = ({k: r["metrics"] for k, r in rows_of(path).items()} for path in paths)
    assert one == two


@pytest.mark.slow
def test_the_job_of_a_process_that_dies_is_done_by_another(tmp_path: Path) -> None:
    import multiprocessing

    path, context = tmp_path / "r.sqlite", context_of(tmp_path, batch=1)
    results, killed = Results.open(path), []
    claim(results, context)

    def kill(job: Any, rows: Any) -> None:
        if not killed:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    run(results, context, plan(context, {})[0], workers=2, tell=kill)
    results.close()
    assert killed
    rows = rows_of(path)
    assert len(rows) == 8
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_seeds_come_from_the_pixels() -> None:
    from reddiff.bench.images import Truth

    pixels = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    seeds = [Truth(n, p).seed for n, p in (("a", pixels), ("b", pixels.clone()), ("a", 1 - pixels))]
    assert seeds[0] == seeds[1] != seeds[2]
    assert all(0 <= seed < 2**63 for seed in seeds)
    Keys(0, tuple(seeds))


def test_a_draw_is_the_same_however_many_there_are(tmp_path: Path) -> None:
    images = {"images": {"drawn": 5, "size": 16}}
    one, five = (context_of(tmp_path, limit=n, **images).truths("field") for n in (1, 5))
    assert torch.equal(one["draw 0"].pixels, five["draw 0"].pixels)
    assert len({truth.seed for truth in five.values()}) == 5


def test_the_meta_says_what_the_results_are_of(tmp_path: Path) -> None:
    path, context = tmp_path / "r.sqlite", context_of(tmp_path)
    run_all(path, context, only="solver=ours,task=noise")
    results = Results.read(path)
    meta = results.meta()
    results.close()
    assert meta["format"] == "1"
    assert json.loads(meta["spec"])["solvers"]["ours"]["steps"] == SPEC["solvers"]["ours"]["steps"]
    assert set(json.loads(meta["versions"])) == {"reddiff", "source", "torch"}
    assert json.loads(meta["weights"]) == context.weights()


def test_draws_of_several_priors_go_on_where_they_ended(tmp_path: Path) -> None:
    priors = {"field": {"field": {}}, "walk": {"walk": {"increments": "laplace"}}}
    path, context = tmp_path / "r.sqlite", context_of(tmp_path, priors=priors)
    assert run_all(path, context, only="solver=ours,task=noise") == 2
    assert run_all(path, context, only="task=noise") == 2
    results = Results.read(path)
    assert {row["prior"]: row["status"] for row in results.rows()} == dict.fromkeys(priors, "ok")
    results.close()
