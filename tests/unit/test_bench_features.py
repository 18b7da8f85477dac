"""Benchmarks with metrics on the features of a network."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.test_bench_spec import written

from reddiff import InvalidArgument, PictureError
from reddiff.bench.context import Context
from reddiff.bench.loading import load_spec
from reddiff.bench.planning import plan
from reddiff.bench.report.labels import read_labels, with_labels
from reddiff.bench.report.reading import load_results
from reddiff.bench.report.writing import summary_of
from reddiff.bench.running import claim, run
from reddiff.bench.store import Results
from reddiff.bench.summary import Cell
from reddiff.metrics import EfficientNetLite0, frechet_distance, kernel_distance
from results_files import write_results

pytestmark = pytest.mark.usefixtures("untyped")
CELL = Cell("net", "noise", 0.1)
PHOTOS = {
    "priors": {"net": "ffdnet"},
    "images": {"photos": "all", "size": 32, "fit": "resize"},
    "tasks": {"noise": {"task": "denoise", "noise": 0.1}},
    "solvers": {"degraded": {"solver": "degraded"}, "hqs": {"solver": "pnp-hqs", "steps": 2}},
    "metrics": ["psnr", "top1", "kernel", "frechet"],
}


def pixels(png: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(BytesIO(png)))).movedim(-1, 0).float() / 255


def test_features_and_agreement_are_those_of_the_stored_pictures(tmp_path: Path) -> None:
    context = Context(load_spec(written(tmp_path, **PHOTOS)))
    results = Results.open(tmp_path / "r.sqlite")
    claim(results, context)
    run(results, context, plan(context, {})[0])
    results.close()
    loaded = load_results([tmp_path / "r.sqlite"])
    strips = [loaded.strip(CELL, name) for name in ("astronaut", "chelsea", "coffee")]
    network = EfficientNetLite0()
    truth = network(torch.stack([pixels(s.truth) for s in strips]))
    found = network(torch.stack([pixels(s.restored["hqs"]) for s in strips]))
    summary = summary_of(loaded)
    top1, kernel, frechet = (summary.get(CELL, "hqs", m) for m in ("top1", "kernel", "frechet"))
    same = network.logits(truth).argmax(1) == network.logits(found).argmax(1)
    assert list(top1.values.values()) == same.float().tolist()
    distances = kernel_distance(found, truth, paired=True), frechet_distance(found, truth)
    assert kernel.mean.mean == pytest.approx(float(distances[0]), rel=1e-4)
    assert frechet.mean.mean == pytest.approx(float(distances[1]), rel=1e-4)
    assert summary.get(CELL, "degraded", "kernel").rank is not None
    labels = tmp_path / "labels.csv"
    seen = int(network.logits(found)[2].argmax())
    labels.write_text(f"astronaut,1\nchelsea,2\ncoffee,{seen}\n")
    given = summary_of(with_labels(loaded, read_labels(labels))).get(CELL, "hqs", "top1")
    assert given.values == {"astronaut": 0, "chelsea": 0, "coffee": 1}
    labels.write_text("chelsea,2\n")
    with pytest.raises(InvalidArgument, match="labels: expected one for astronaut, got none"):
        with_labels(loaded, read_labels(labels))


@pytest.mark.parametrize("text", ["a,1000", "a,-1", "a", "a,1\na,2", "image,class"])
def test_labels_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"b,3\n\n{text}\n")
    with pytest.raises(PictureError, match=r"labels.csv: expected lines of an image .* in line \d"):
        read_labels(path)


def test_labels_need_features(tmp_path: Path) -> None:
    loaded = load_results([write_results(tmp_path / "r.sqlite", images=1)])
    with pytest.raises(InvalidArgument, match="labels: expected results with features"):
        with_labels(loaded, {"image0": 1})


def test_drawn_images_have_no_features(tmp_path: Path) -> None:
    context = Context(load_spec(written(tmp_path, metrics=["psnr", "kernel"])))
    with pytest.raises(InvalidArgument, match="metrics: expected none of kernel for drawn images"):
        plan(context, {})
