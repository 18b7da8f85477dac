"""What is to be done, and what decides the pixels of the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from reddiff.images.jobs import Job
from reddiff.images.records import as_json, versions
from reddiff.images.settings import Settings
from reddiff.large.channels import Channels
from reddiff.large.scanning import Scan

DECISIVE = ("reddiff", "torch")  # the versions that a rerun must have
OF_A_FILE = ("source", "output", "lane", "keep_diverged")


@dataclass(frozen=True, kw_only=True)
class Large:
    """A picture to restore in windows.

    Arguments:
        source: The degraded picture, a `.npy`, `.tif` or `.zarr`.
        output: The restored picture, of the same format.
        settings: All else that decides the pixels, in words and numbers as on the command line.
            The mask of `inpaint` is a file of one of these formats and of the picture's size.
        window: The side of the windows, in pixels of the source.
        overlap: How far neighbors overlap at least: less than half a window, and not less than a
            kernel.
        nodata: The value of missing pixels, beside NaN; by default what the file says.
        channels: Whether the channels are one color, or each a gray picture.
        force: Replace the output, and discard the parts of another run.
    """

    source: Path
    output: Path
    settings: Settings
    window: int = 1024
    overlap: int = 64
    nodata: float | None = None
    channels: Channels = Channels.AUTO
    force: bool = False

    @property
    def job(self) -> Job:
        """The same, as records have it."""
        return Job(str(self.source), str(self.output), self.settings)


def plan_of(
    request: Large, *, weights: str, found: Scan, mask: Scan | None, nodata: float | None
) -> dict[str, Any]:
    """All that decides the pixels. Two runs of equal plans make the same.

    Arguments:
        request: What is to be done.
        weights: The hash of the prior's weights.
        found: What a pass over the source found.
        mask: What a pass over the mask found.
        nodata: The value of missing pixels.
    """
    job = request.job
    plan: dict[str, Any] = {k: v for k, v in job.entries.items() if k not in OF_A_FILE}
    named = [name for name in job.files if name not in ("source", "mask")]
    hashes = job.input_hashes(named)
    plan |= {name: f"sha256:{hashes[name]}{job.tail(name)}" for name in named}
    if mask is not None:
        plan["mask"] = f"sha256:{mask.digest}"
    known = {f"version of {name}": versions()[name] for name in DECISIVE}
    plan |= {"source": f"sha256:{found.digest}", "weights": weights, **known}
    more = {"window": request.window, "overlap": request.overlap}
    return plan | more | {"nodata": nodata, "channels": request.channels.value}


def plan_id(plan: Mapping[str, Any]) -> str:
    """A hash of a plan, in 16 digits."""
    return sha256(as_json(plan)).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What is not as in another plan."""
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [
        f"another {name}"
        if str(new.get(name)).startswith("sha256:")
        else f"{name.replace('_', '-')} {old.get(name)} -> {new.get(name)}"
        for name in changed
    ]
