"""`reddiff restore`: degraded pictures in, restored ones out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff.cli.errors import INVALID_INPUT, SOME_FAILED, debugging, explain
from reddiff.cli.options import (
    Fit,
    Force,
    KernelText,
    MaskText,
    Noise,
    Scale,
    Seed,
    TaskName,
    pictures_in,
)

if TYPE_CHECKING:
    from reddiff.jobs import Job
    from reddiff.priors.base import Prior


def restore(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN...", help="The degraded pictures: files, folders or patterns."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The restored picture, or a folder for several."),
    ] = None,
    task: TaskName = None,
    mask: MaskText = None,
    fit_mask: Fit = False,
    scale: Scale = None,
    kernel: KernelText = None,
    noise: Noise = None,
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
    truth: Annotated[
        Path | None, typer.Option(help="The true picture: prints PSNR, SSIM and LPIPS.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="A folder for an animation of the estimates.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Run a record again, to the same pixels.")
    ] = None,
    force: Force = False,
) -> None:
    """Restore degraded pictures. Writes each result, and a record of the run beside it."""
    from reddiff import jobs

    if replay is not None:
        record = jobs.replay(replay, output=output, force=force)
        typer.echo(f"{record['job']['output']}: the same pixels, {record['pixels']}")
        return
    if not sources or output is None or task is None:
        raise typer.BadParameter("needs IN..., --output and --task (or --replay RECORD)")
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
    }
    files = pictures_in(sources)
    if len(files) > 1 or output.is_dir():
        output.mkdir(parents=True, exist_ok=True)
        targets = [output / f"{file.stem}.png" for file in files]
    else:
        targets = [output]
    todo = [
        jobs.Job(str(file), str(target), **settings)
        for file, target in zip(files, targets, strict=True)
    ]
    _run_all(todo, truth=truth, preview=preview, force=force)


def _run_all(
    todo: list[Job],
    *,
    truth: Path | None,
    preview: Path | None,
    force: bool,
) -> None:
    """Run the jobs; with several, a failed one is reported and the others go on."""
    from reddiff.catalogue import load_prior
    from reddiff.errors import InvalidArgument, ReddiffError

    if truth is not None and len(todo) > 1:
        raise InvalidArgument("truth", expected="a single input beside it", got=len(todo))
    outputs = [job.output for job in todo]
    twice = sorted({o for o in outputs if outputs.count(o) > 1})
    if twice:
        expected = "inputs of different names, for outputs of one folder"
        raise InvalidArgument("output", expected=expected, got=f"more than one {twice[0]}")
    prior = load_prior(todo[0].prior)
    failed = 0
    for job in todo:
        try:
            _run(job, prior, truth=truth, preview=preview, force=force)
        except (ReddiffError, OSError) as error:
            if len(todo) == 1 or debugging.get():
                raise
            failed += 1
            typer.echo(f"reddiff: {explain(error)}", err=True)
    if failed:
        typer.echo(f"{failed} of {len(todo)} pictures failed", err=True)
        raise typer.Exit(INVALID_INPUT if failed == len(todo) else SOME_FAILED)


def _run(job: Job, prior: Prior, *, truth: Path | None, preview: Path | None, force: bool) -> None:
    from reddiff import jobs
    from reddiff.animation import Animation
    from reddiff.hooks import ProgressBar

    film = None
    if preview is not None:
        preview.mkdir(parents=True, exist_ok=True)
        film = Animation(preview / f"{Path(job.output).stem}.webp", force=force)
    bar = ProgressBar(Path(job.source).name, transient=True)
    record = jobs.run(
        job,
        prior=prior,
        truth=truth,
        force=force,
        hooks=[bar],
        preview=None if film is None else film.add,
    )
    if film is not None:
        film.close()
    typer.echo(summary(record))


def summary(record: dict[str, Any]) -> str:
    """A record in a few lines."""
    job, cost = record["job"], record["cost"]
    how = "estimated" if record["noise_estimated"] else "given"
    ratio = record["residual_ratio"]
    lines = [
        f"{job['output']}: {job['task']} by {job['solver']}, {cost['evaluations']} evaluations "
        f"in {cost['seconds']:.1f} s; noise {record['noise']:.4f} ({how}), "
        f"residual/noise {'undefined' if ratio is None else f'{ratio:.2f}'}"
    ]
    if record["status"] != "EXHAUSTED":
        lines.append(f"  status {record['status']}")
    lines += [f"  {note}" for note in record["notes"]]
    if "metrics" in record:
        names = {"psnr": "PSNR {:.2f} dB", "ssim": "SSIM {:.4f}", "lpips": "LPIPS {:.4f}"}
        found = [names[k].format(v) for k, v in record["metrics"].items()]
        lines.append("  " + ", ".join(found))
    return "\n".join(lines)
