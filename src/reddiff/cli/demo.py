"""`reddiff demo`: degrade and restore five photos, on one contact sheet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff.cli import interruptions
from reddiff.cli.options import Force, PriorName, some_path
from reddiff.cli.terminal import counted, say

if TYPE_CHECKING:
    from PIL import Image

    from reddiff.images.io import Picture


@dataclass(frozen=True)
class Example:
    """One row of the contact sheet.

    Arguments:
        name: Base name of its files.
        photo: Name of a photo in the package.
        label: Caption.
        task: The degradation, as options of `reddiff degrade` and `reddiff restore`.
        noise: Standard deviation of the noise, for pixels in [0, 1].
        solver: The solver that restores it.
    """

    name: str
    photo: str
    label: str
    task: dict[str, Any]
    noise: float
    solver: str = "noise-aware"


EXAMPLES = (
    Example("text", "chelsea", "Text", {"task": "inpaint", "mask": "text:lorem"}, 0.01),
    Example("sr", "astronaut", "4x smaller", {"task": "sr", "scale": 4}, 0.01),
    Example("motion", "coffee", "Motion blur", {"task": "deblur", "kernel": "motion:15,30"}, 0.01),
    Example("noise", "astronaut", "Noisy", {"task": "denoise"}, 0.1),
    Example(
        "red-diff",
        "chelsea",
        "70 % missing",
        {"task": "inpaint", "mask": "random:0.7"},
        0.025,
        "red-diff",
    ),
)


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=some_path, metavar="DIR", help="The folder for the pictures."
        ),
    ] = Path("demo"),
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of steps. Default: that of the solver.")
    ] = None,
    prior: PriorName = "photo",
    force: Force = False,
) -> None:
    """Degrade and restore five photos. Writes all pictures and records, and a contact sheet.

    Four photos are restored by the default solver, one by RED-diff with its published settings.
    """
    from rich.console import Console
    from rich.table import Table

    from reddiff.files import check_target, write_together
    from reddiff.images.settings import Settings, check_number, options
    from reddiff.images.sheets import contact_sheet
    from reddiff.interop import door

    check_number("steps", steps, options(Settings)["steps"])
    for file in (*_files(output), output / "sheet.png"):
        check_target(file, force=force, parents=True)
    network = door.prior(prior)
    interruptions.raise_from_now_on()
    table = Table("photo", "degradation", "solver", "evaluations", "seconds", "before", "after")
    rows, captions = [], []
    for example in EXAMPLES:
        pictures, record, before = _run(example, output, network, prior, steps, force=force)
        after, cost = record["metrics"]["psnr"], record["cost"]
        table.add_row(
            example.photo,
            f"{example.label}, noise {example.noise:g}",
            example.solver,
            str(cost["evaluations"]),
            f"{cost['seconds']:.1f}",
            f"{before:.2f} dB",
            f"{after:.2f} dB",
        )
        rows.append(pictures)
        made = counted(cost["evaluations"], "evaluation")
        done = f"{example.solver}, {made}\nPSNR {after:.2f} dB"
        what = f"{example.label}, noise {example.noise:g}\nPSNR {before:.2f} dB"
        captions.append([what, done, example.photo])
    sheet = contact_sheet(rows, captions, columns=["Degraded", "Restored", "Truth"])
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    write_together([(output / "sheet.png", buffer.getvalue())], force=force)
    Console(width=110).print(table)
    say(f"PSNR against the truth. Sheet: {output / 'sheet.png'}; records: {output}/*.json")


def _files(folder: Path) -> list[Path]:
    """The files of all examples, except the contact sheet."""
    from reddiff.images.records import record_path

    pictures = [folder / f"{e.name}{kind}.png" for e in EXAMPLES for kind in ("", "-degraded")]
    masks = [folder / f"{e.name}-degraded.mask.png" for e in EXAMPLES if "mask" in e.task]
    kernels = [folder / f"{e.name}-degraded.kernel.npy" for e in EXAMPLES if "kernel" in e.task]
    return [*pictures, *(record_path(p) for p in pictures), *masks, *kernels]


def _run(
    example: Example, folder: Path, network: Any, prior: str, steps: int | None, *, force: bool
) -> tuple[list[Image.Image], dict[str, Any], float]:
    """Degrade and restore one photo. Returns three pictures, the record, the PSNR before."""
    from importlib.resources import as_file, files

    from reddiff.images.comparison import compare
    from reddiff.images.io import read_picture
    from reddiff.images.jobs import Job
    from reddiff.images.runs import run
    from reddiff.images.settings import Settings
    from reddiff.images.simulation import simulate
    from reddiff.run.progress_bar import ProgressBar

    degraded, restored = folder / f"{example.name}-degraded.png", folder / f"{example.name}.png"
    with as_file(files("reddiff").joinpath(f"assets/photos/{example.photo}.png")) as truth:
        settings = Settings(
            **example.task, noise=example.noise, solver=example.solver, steps=steps, prior=prior
        )
        made = simulate(truth, degraded, settings, force=force, parents=True)
        settings = replace(settings, **{k: made[k] for k in ("mask", "kernel") if k in made})
        job = Job(str(degraded), str(restored), settings)
        bar = ProgressBar(example.label, transient=True)
        record = run(job, prior=network, truth=truth, force=force, parents=True, hooks=[bar])
        clean = read_picture(truth)
    before = _enlarged(read_picture(degraded), clean.size)
    pictures = [picture.to_pil() for picture in (before, read_picture(restored), clean)]
    return pictures, record, compare(before, clean)["psnr"]


def _enlarged(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture interpolated to another size, for comparison."""
    from torch.nn.functional import interpolate

    if picture.size == size:
        return picture
    larger = interpolate(picture.pixels[None], size=size, mode="bicubic")
    return replace(picture, pixels=larger[0].clamp(0, 1))
