"""The top-1 accuracy against labels from a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reddiff.bench.report.reading import Loaded
from reddiff.bench.summary import Cell
from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.files import read_regular
from reddiff.metrics.efficientnet import CLASSES, EfficientNetLite0

MOST_BYTES = 100_000_000


def read_labels(path: Path) -> dict[str, int]:
    """The classes in a file with a line `image,class` for each image.

    Raises:
        PictureError: If it cannot be read, or a line has another form.
    """
    text = read_regular(path, MOST_BYTES).decode("utf-8-sig", "replace")
    labels: dict[str, int] = {}
    for number, line in enumerate(csv.reader(text.splitlines()), 1):
        if not line:
            continue
        known = len(line) == 2 and line[1].strip().isdecimal() and int(line[1]) < CLASSES
        if not known or labels.setdefault(line[0], int(line[1])) != int(line[1]):
            expected = f"lines of an image and its class, 0 to {CLASSES - 1}, each image once"
            raise PictureError(path, expected=expected, got=f"{','.join(line)} in line {number}")
    return labels


def with_labels(loaded: Loaded, labels: Mapping[str, int]) -> Loaded:
    """Results whose metric `top1` compares with these classes of ImageNet.

    Raises:
        InvalidArgument: If the results have no features, or an image has no label.
    """
    features = loaded.features(EfficientNetLite0.name)
    expected = "results with features: top1, frechet or kernel among the metrics of the spec"
    require(bool(features), "labels", expected=expected, got="none")
    network, rows = EfficientNetLite0(), []
    for row in loaded.rows:
        cell = Cell(row["prior"], row["task"], row["noise"])
        vector = features.get((cell, row["solver"]), {}).get(row["image"])
        if vector is None or row["status"] != "ok":
            rows.append(row)
            continue
        if row["image"] not in labels:
            raise InvalidArgument("labels", expected=f"one for {row['image']}", got="none")
        found = network.logits(torch.from_numpy(np.array(vector)[None])).argmax(1)
        agreed = float(int(found) == labels[row["image"]])
        rows.append(row | {"metrics": {**row["metrics"], "top1": agreed}})
    return replace(loaded, rows=rows)
