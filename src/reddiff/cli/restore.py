"""`reddiff restore`: degraded pictures in, restored ones out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from reddiff.cli import interruptions
from reddiff.cli.batch import Existing, run_batch
from reddiff.cli.options import (
    Fit,
    Force,
    KernelText,
    MaskText,
    Noise,
    Page,
    Scale,
    Seed,
    TaskName,
    ValueRange,
    some_path,
)
from reddiff.cli.terminal import say

if TYPE_CHECKING:
    from reddiff.images.jobs import Job

WITH_REPLAY = {"replay", "output", "force", "task"}  # what may stand beside --replay


class Restore(TyperCommand):
    """`reddiff restore`: nothing may be typed beside --replay that would have no effect."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        from reddiff.errors import InvalidArgument

        if ctx.params.get("replay") is not None:
            typed = [
                parameter.opts[-1] if parameter.param_type_name == "option" else "IN"
                for parameter in self.params
                if parameter.name is not None
                and parameter.name not in WITH_REPLAY
                and getattr(ctx.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
                and ctx.params.get(parameter.name) not in (None, (), [])  # no IN, for some clicks
            ]
            if typed:
                expected = "nothing but -o, --force and --task FILE.py:NAME beside it"
                raise InvalidArgument("--replay", expected=expected, got=", ".join(typed))
        return super().invoke(ctx)


def restore(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN...", help="The degraded pictures: files, folders or patterns."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The restored picture, or a folder for several; names and formats are kept there.",
        ),
    ] = None,
    task: TaskName = None,
    mask: MaskText = None,
    fit_mask: Fit = False,
    scale: Scale = None,
    kernel: KernelText = None,
    noise: Noise = None,
    value_range: ValueRange = None,
    page: Page = None,
    solver: Annotated[str, typer.Option(help="See `reddiff solvers`.")] = "noise-aware",
    steps: Annotated[int | None, typer.Option(help="Steps; the solver's own by default.")] = None,
    realism: Annotated[
        float | None,
        typer.Option(help="For noise-aware: 0.5 is faithful, 1 a draw from the posterior."),
    ] = None,
    prior: Annotated[
        str, typer.Option(help="See `reddiff priors`, or a .safetensors file.")
    ] = "photo",
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    tile: Annotated[
        int, typer.Option(min=64, help="Larger pictures are seen in tiles of this side.")
    ] = 512,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Sub-folders too; the tree is kept.")
    ] = False,
    on_existing: Annotated[
        Existing | None,
        typer.Option(
            help="Where a result exists: error; skip, if its record has the same settings, weights "
            "and inputs (it is made anew if not); overwrite. --force is overwrite.",
            show_default="error",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            parser=some_path, metavar="CSV", help="A table of what became of every picture."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            parser=some_path, metavar="PATH", help="The true picture: prints PSNR, SSIM and LPIPS."
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            parser=some_path, metavar="DIR", help="A folder for an animation of the estimates."
        ),
    ] = None,
    keep_diverged: Annotated[
        bool,
        typer.Option(
            "--keep-diverged", help="Write the last finite estimate of a run that diverged."
        ),
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="RECORD",
            help="Run a record again, to the same pixels. Beside it: -o, --force, and --task "
            "FILE.py:NAME for a record that runs such code.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Restore degraded pictures. Writes each result, and a record of the run beside it.

    A run that diverges writes no picture and ends with code 6.
    """
    from reddiff.errors import InvalidArgument
    from reddiff.images import jobs

    if output is not None:
        some_path(output)
    if replay is not None:
        interruptions.raise_from_now_on()
        record = jobs.replay(replay, output=output, task=task, force=force)
        say(f"{record['job']['output']}: the same pixels, {record['pixels']}")
        return
    if not sources or output is None or task is None:
        raise typer.BadParameter("needs IN..., --output and --task (or --replay RECORD)")
    if force and on_existing not in (None, Existing.overwrite):
        expected = "overwrite, or nothing, beside --force"
        raise InvalidArgument("--on-existing", expected=expected, got=on_existing)
    settings: dict[str, Any] = {
        "task": task,
        "mask": mask,
        "fit_mask": fit_mask,
        "scale": scale,
        "kernel": kernel,
        "noise": noise,
        "solver": solver,
        "steps": steps,
        "realism": realism,
        "prior": prior,
        "seed": seed,
        "device": device,
        "tile": tile,
        "keep_diverged": keep_diverged,
        "range": value_range,
        "page": page,
    }
    todo, notes = _jobs(sources, output, settings, recursive=recursive)
    many = len(todo) > 1 or todo[0].output != output
    if truth is not None and len(todo) > 1:
        raise InvalidArgument("truth", expected="a single input beside it", got=len(todo))
    mode = Existing.overwrite if force else on_existing or Existing.error
    run_batch(
        todo,
        notes=notes,
        folder=Path(output) if many else None,
        on_existing=mode,
        truth=truth,
        preview=preview,
        report=report,
    )


def _jobs(
    sources: list[str], output: str, settings: dict[str, Any], *, recursive: bool
) -> tuple[list[Job], list[str]]:
    """What to do, and what was passed over."""
    from reddiff.images.folders import find, targets
    from reddiff.images.io.writing import FORMATS
    from reddiff.images.jobs import Job

    place = Path(output)
    found = find(sources, recursive=recursive, avoid=place)
    names = len(sources) == 1 and sources[0] == str(found.files[0][0])  # a file, not a folder
    names = names or place.suffix.lower() in FORMATS
    single = len(found.files) == 1 and names and not place.is_dir() and output[-1] not in "/\\"
    pairs = [(found.files[0][0], place)] if single else targets(found.files, place)
    return [Job(str(file), str(target), **settings) for file, target in pairs], found.notes
