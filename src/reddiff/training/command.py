"""`reddiff.training.train`: training of a small prior on the user's images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from reddiff.errors import require, require_count
from reddiff.files import check_target
from reddiff.interop.header import Header
from reddiff.interop.weights import save_weights
from reddiff.interop.wiring import Wiring
from reddiff.priors.error_spectrum import ErrorSpectrum
from reddiff.priors.networks import computes_in
from reddiff.priors.photo import BOUND
from reddiff.training.logs import append, denoising_psnr
from reddiff.training.pictures import Folder, read_folder
from reddiff.training.recipe import Recipe
from reddiff.training.resuming import resumed
from reddiff.training.sizes import SIZES, size_for
from reddiff.training.trainer import Trainer

LEVEL = 25  # noise level of the PSNR in the log, in units of 1/255
SHOWN, SIDE = 8, 128  # number of held-out images for the log, and their largest side
CROPS, CROP = 96, 64  # number of crops for the error spectrum, and their largest side
COLUMNS = ("hours", "step", "images", "rate", "loss", f"psnr{LEVEL}")


@dataclass(frozen=True)
class Row:
    """The progress of a run.

    Arguments:
        step: The number of steps made.
        hours: The time spent, in hours.
        left: The remaining time of the budget, in hours.
        loss: The mean loss since the last row.
        psnr: The PSNR in dB of denoising held-out images with noise of 25/255; None if there are
            no such images.
    """

    step: int
    hours: float
    left: float
    loss: float
    psnr: float | None


def train(
    folder: str | Path,
    output: str | Path,
    *,
    hours: float | None = None,
    steps: int | None = None,
    size: str | None = None,
    resume: bool = False,
    force: bool = False,
    seed: int = 0,
    device: str = "cpu",
    minutes: float = 2.0,
    report: Callable[[Row], None] | None = None,
) -> bool:
    """Train a small prior on the images in a folder; `reddiff.prior(output)` loads it.

    During training, a checkpoint and a table (.csv) of the loss are written beside the output. The
    same call with `resume` continues from the checkpoint; if the budget is in steps, the result is
    the same as without interruption. One file in twenty is held out. At the end, the error spectrum
    of the prior is measured on the held-out images and stored in the file.

    Arguments:
        folder: A folder of gray images, color images, or arrays with n channels; see
            `read_folder`.
        output: The .safetensors file to write.
        hours: The wall-clock budget in hours; 1 by default.
        steps: The budget in steps, in place of hours.
        size: "tiny", "small", "medium" or "large"; by default chosen according to the hours.
        resume: Whether to continue from the checkpoint.
        force: Whether to replace an existing output, checkpoint and table.
        seed: Random seed.
        device: "cpu" or "cuda".
        minutes: The time between checkpoints, and between rows of the table, in minutes.
        report: Called with each row of the table.

    Returns:
        Whether the budget is spent. After SIGINT or SIGTERM there is only a checkpoint.

    Raises:
        InvalidArgument: If an argument is invalid, or the images differ in the number of channels.
        PictureError: If an image cannot be read, or the output exists.
        WeightsError: If the checkpoint is damaged.
        FloatingPointError: If the loss is not finite.
    """
    output = Path(output)
    checkpoint, table = output.with_suffix(".checkpoint"), output.with_suffix(".csv")
    hours = _checked(output, hours, steps, size, minutes)
    check_target(output, force=force)
    for beside in (checkpoint, table):
        check_target(beside, force=force or resume)
    require(not resume or checkpoint.exists(), "resume", expected=str(checkpoint), got="no file")
    found = read_folder(Path(folder))
    learned, held = found.split()
    sides = _patches(learned)
    shape = SIZES[size or size_for(hours)]
    config = {"image_channels": found.channels, "channels": list(shape.channels)}
    config |= {"blocks": list(shape.blocks)}
    native = computes_in(torch.bfloat16, torch.device(device))
    recipe = Recipe(hours, steps, seed=seed, device=device, bf16=native, muon=native)
    warmup = recipe.warmup if steps is None else max(min(recipe.warmup, steps // 10), 1)
    recipe = replace(recipe, batch=max(32 * 32**2 // sides[0] ** 2, 1), warmup=warmup)
    about = {"recipe": asdict(recipe), "pictures": found.digest(), "network": config}
    with torch.random.fork_rng():
        if resume:
            trainer = resumed(checkpoint, recipe, about)
        else:
            table.unlink(missing_ok=True)
            trainer = Trainer(recipe, config)
        samples = held.centers(SHOWN, SIDE)

        def row(loss: float) -> None:
            found = Row(trainer.steps, trainer.hours, _left(trainer), loss, _psnr(trainer, samples))
            numbers = [trainer.hours, trainer.steps, trainer.images, trainer.rate(), loss]
            append(table, COLUMNS, numbers + ([] if found.psnr is None else [found.psnr]))
            if report is not None:
                report(found)

        over = trainer.run(
            learned.data(sides, device),
            save=lambda: trainer.save(checkpoint, about=about),
            report=row,
            minutes=minutes,
        )
        if over:
            _finish(trainer, held if held.names else learned, output)
            checkpoint.unlink()
    return over


def _checked(
    output: Path, hours: float | None, steps: int | None, size: str | None, minutes: float
) -> float | None:
    """The budget in hours, after validation of the arguments; None for a budget in steps."""
    suffix = output.suffix.lower()
    require(suffix == ".safetensors", "output", expected="a .safetensors file", got=str(output))
    expected = "hours or steps, not both"
    require(hours is None or steps is None, "steps", expected=expected, got=f"{hours} and {steps}")
    if steps is not None:
        require_count("steps", steps)
    hours = 1.0 if hours is None and steps is None else hours
    good = hours is None or 0 < hours < float("inf")
    require(good, "hours", expected="a positive number", got=hours)
    require(minutes > 0, "minutes", expected="a positive number", got=minutes)
    known = size is None or size in SIZES
    require(known, "size", expected=f"one of {', '.join(SIZES)}", got=size)
    return hours


def _patches(pictures: Folder) -> list[int]:
    """The sides of crops: 32 and 64 pixels, or 16 if all images are smaller."""
    largest = max(min(p.shape[:2]) for p in pictures.pictures)
    return [side for side in (32, 64) if side <= largest] or [16]


def _left(trainer: Trainer) -> float:
    """The remaining time of the budget in hours."""
    done = trainer.done()
    return trainer.hours * (1 - done) / done if 0 < done < 1 else 0.0


def _psnr(trainer: Trainer, samples: list[torch.Tensor]) -> float | None:
    if not samples:
        return None
    prior = _wiring(trainer).prior(trainer.average())
    values = denoising_psnr(prior, samples, LEVEL, trainer.recipe.device)
    return sum(values) / len(values)


def _wiring(trainer: Trainer) -> Wiring:
    shape = [trainer.config["image_channels"], None, None]
    return Wiring(prediction="edm", shape=shape, bound=BOUND)


def _finish(trainer: Trainer, pictures: Folder, output: Path) -> None:
    """Measure the error spectrum and write the weights in half precision."""
    net, wiring = trainer.average().cpu(), _wiring(trainer)
    half = {name: value.half() for name, value in net.state_dict().items()}
    net.load_state_dict({name: value.float() for name, value in half.items()})
    side = min(CROP, *(min(p.shape[:2]) for p in pictures.pictures))
    errors = ErrorSpectrum.measure(wiring.prior(net), pictures.crops(side, CROPS))
    header = Header("unet", trainer.config, wiring)
    save_weights(output, half, header, errors, dtype=torch.float16)
