"""What a spec may say, and what is said where it is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import reddiff
from reddiff import InvalidArgument
from reddiff.bench.context import Context
from reddiff.bench.loading import load_spec, shipped
from reddiff.bench.methods import make_solver
from reddiff.bench.planning import costs, plan
from reddiff.bench.summary import Cell
from reddiff.images.io import read_kernel
from reddiff.operators import CircularBlur
from reddiff.solvers import REDDiff
from reddiff.solvers.variants import ALGORITHM_1
from reddiff.solvers.weightings import square

PHOTOS = Path(reddiff.__file__).parent / "assets" / "photos"
SPEC: dict[str, Any] = {
    "priors": {"field": {"field": {"std": 0.4}}},
    "images": {"drawn": 2, "size": 16},
    "tasks": {"noise": {"task": "denoise"}, "holes": {"task": "inpaint", "mask": "random:0.5"}},
    "noise": [0.05],
    "solvers": {
        "ours": {"solver": "noise-aware", "steps": 2},
        "theirs": {"solver": "red-diff", "steps": 2},
    },
    "metrics": ["psnr"],
}


def written(folder: Path, **changes: Any) -> str:
    """A file of the spec with other entries."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC | changes))
    return str(path)


def solver(**entry: Any) -> dict[str, Any]:
    return {"solvers": {"one": entry}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (solver(solver="red-dif"), "did you mean red-diff?), got red-dif"),
        (solver(solver="dps", zetta=1), "solvers.one.zetta: expected a setting of dps"),
        (solver(solver="red-diff", weighting="lineer"), "(did you mean linear?)"),
        (solver(solver="red-diff", optimizer="sdg"), "(did you mean sgd?)"),
        (solver(solver="red-diff", momentum=0.9), "none but for sgd"),
        (solver(solver="red-diff", weight="much"), "expected a number, got 'much'"),
        (solver(solver="red-diff", weight=-1.0), "solvers.one.weight: expected"),
        (solver(solver="dps", lr=0.1), "solvers.one.lr: expected none for dps"),
        (solver(solver="dps", steps=0), "solvers.one.steps: expected greater than"),
        (solver(solver="dps", per_task={"hole": {}}), "(did you mean holes?)"),
        (solver(solver="degraded", zeta=1.0), "no settings of `degraded`"),
        ({"tasks": {"a": {"task": "inpant"}}}, "(did you mean inpaint?)"),
        ({"tasks": {"a": {"task": "phase", "scale": 2}}}, "none for the task phase"),
        ({"tasks": {"a": {"task": "denoise", "nois": 0.1}}}, "(did you mean noise?)"),
        ({"tasks": {"a": {"task": "denoise", "assumed": {"mask": "box:4"}}}}, "to differ from"),
        ({"tasks": {"a": {"task": "denoise", "assumed": {"nois": 2}}}}, "(did you mean noise?)"),
        ({"metrics": ["psnrr"]}, "(did you mean psnr?)"),
        ({"metrics": ["lpips"]}, "metrics: expected none of lpips"),
        ({"solvers": "catalog"}, "(did you mean catalogue?)"),
        ({"solver": {}}, "a known key (did you mean solvers?)"),
        ({"noise": [2.0]}, "spec.yaml: noise.0: expected less than"),
        ({"priors": {"field": {"field": {"sdt": 1}}}}, "(did you mean std?)"),
        ({"priors": {"mine": {}}}, "prior mine: expected a source: --prior mine=FILE"),
        ({"images": {}}, "images: expected photos, drawn, or files (--images FILES), got none"),
        ({"images": {"photos": ["chelsee"]}}, "(did you mean chelsea?)"),
        ({"images": {"files": ["no.png"]}}, "no.png: expected a file that can be read"),
        ({"expect": [{"metric": "psnr", "solver": "ours"}]}, "expect[0]: expected better and than"),
        ({"expect": [{"metric": "psnr", "better": "our", "than": "theirs"}]}, "mean ours?"),
    ],
)
def test_what_is_wrong_is_named_in_a_line_before_any_work(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    from reddiff import ReddiffError

    with pytest.raises(ReddiffError, match=re.escape(words)) as caught:
        plan(Context(load_spec(written(tmp_path, **changes))), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2", "- 1\n- 2", "tasks: 3"])
def test_a_file_that_is_no_spec_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(InvalidArgument) as caught:
        load_spec(str(path))
    assert "spec.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_spec_offers_the_nearest() -> None:
    with pytest.raises(InvalidArgument, match="did you mean quick"):
        load_spec("quik")


def test_two_images_of_the_same_pixels_are_refused(tmp_path: Path) -> None:
    from reddiff.images.io import Picture, write_picture

    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, Picture(torch.full((3, 16, 16), 0.5)))
    spec = load_spec(written(tmp_path), files=[str(tmp_path)])
    with pytest.raises(InvalidArgument, match=r"the same in a\.png and b\.png"):
        Context(spec).truths("field")


LARGE = {"daps-protocol", "red-diff-protocol", "pictures"}  # of 256 x 256
SPECS = [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in shipped()]


@pytest.mark.parametrize("name", SPECS)
def test_every_spec_of_the_package_can_be_planned(name: str) -> None:
    sources = {"red-diff-protocol": ["imagenet=photo"], "daps-protocol": ["ffhq=photo"]}
    files = [str(PHOTOS)] if name in sources else None
    context = Context(load_spec(name, sources.get(name, []), files=files), limit=1)
    todo, there = plan(context, {})
    assert not there
    spec = context.spec
    cells = sum(len(spec.noise_of(task)) for task in spec.tasks)
    assert len(todo) == len(spec.priors) * cells * len(spec.solvers)
    for task in spec.tasks:  # each fits the images; what a solver cannot do is known before
        costs(context, [job for job in todo if job.cell.task == task][:2])


def test_solvers_are_told_what_a_task_assumes(tmp_path: Path) -> None:
    holes = {"task": "inpaint", "mask": "random:0.5"}
    tasks = {
        "holes": holes,
        "loud": holes | {"assumed": {"noise": 2}},
        "dead": holes | {"assumed": {"mask": "random:0.4"}},
        "wide": {
            "task": "circular-blur",
            "kernel": "gaussian:1",
            "assumed": {"kernel": "gaussian:1.5"},
        },
    }
    context = Context(load_spec(written(tmp_path, tasks=tasks)))
    names = sorted(context.truths("field"))
    holes_, loud, dead, wide = (
        context.measured(Cell("field", task, 0.05), names).problem for task in tasks
    )
    assert torch.equal(holes_.y, loud.y)
    assert torch.equal(2 * holes_.noise.std(holes_.y), loud.noise.std(loud.y))
    assert (dead.count > holes_.count).all()
    assert torch.equal(dead.y, holes_.y)  # what is believed to be measured reads as gray
    x = torch.randn(2, 3, 16, 16)
    believed = CircularBlur(read_kernel("gaussian:1.5").psf.float())
    assert torch.equal(wide.operator(x), believed(x))


@pytest.mark.parametrize("name", ["red-diff-protocol", "daps-protocol"])
def test_a_protocol_asks_for_its_prior(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"expected a source: --prior \w+=FILE"):
        Context(load_spec(name, files=[str(PHOTOS)]))


def test_settings_reach_the_solver(tmp_path: Path) -> None:
    entry = {
        "solver": "red-diff",
        "steps": 3,
        "weighting": "square",
        "variant": "algorithm-1",
        "optimizer": "sgd",
        "lr": 0.25,
        "momentum": 0.5,
        "per_task": {"holes": {"weight": 2.0}},
    }
    context = Context(load_spec(written(tmp_path, **solver(**entry))))
    todo, _ = plan(context, {})
    made = {}
    for job in todo:
        measured = context.measured(job.cell, job.images)
        prior, problem = context.prior("field"), measured.problem
        entry_of = context.spec.solvers["one"]
        made[job.cell.task] = make_solver(
            "one", entry_of, job.cell.task, measured.preset, prior, problem
        )
    plain, holes = made["noise"], made["holes"]
    assert isinstance(plain, REDDiff)
    assert isinstance(holes, REDDiff)
    assert (plain.weight, holes.weight) == (1.0, 2.0)  # 1 is published for noise
    assert (plain.weighting, plain.variant, plain.steps) == (square, ALGORITHM_1, 3)
    group = plain.optimizer([problem.y.requires_grad_()]).param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.25, 0.5)


def test_a_grid_is_all_its_combinations(tmp_path: Path) -> None:
    grid = {"lr": [0.1, 1], "weight": [0.5, 2.0]}
    spec = load_spec(written(tmp_path, **solver(solver="red-diff", steps=1, grid=grid)))
    assert list(spec.solvers) == [f"one lr={a} weight={b}" for a in (0.1, 1) for b in (0.5, 2.0)]
    assert spec.solvers["one lr=1 weight=0.5"].lr == 1


def test_the_cost_is_that_of_the_solvers(tmp_path: Path) -> None:
    runs = {"solver": "dps", "steps": 5, "runs": 3}
    spec = load_spec(written(tmp_path, solvers={"dps": runs, "y": {"solver": "degraded"}}))
    context = Context(spec)
    found = costs(context, plan(context, {})[0])
    assert {cost for (_, label), cost in found.items() if label == "dps"} == {(15, 15)}
    assert {cost for (_, label), cost in found.items() if label == "y"} == {(0, 0)}


def test_the_hash_is_of_what_decides_the_results(tmp_path: Path) -> None:
    same = [{"batch": 3}, {"summary": "another"}, {"images": {"drawn": 1, "size": 16}}]
    other = [{"seed": 1}, {"noise": [0.1]}, {"metrics": ["psnr", "ssim"]}]
    first = load_spec(written(tmp_path)).hash
    assert {load_spec(written(tmp_path, **changes)).hash for changes in same} == {first}
    others = {load_spec(written(tmp_path, **changes)).hash for changes in other}
    assert len(others | {first}) == 4
