"""What the examples share: pictures (b, c, h, w) in [0, 1], in and out, and their numbers."""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reddiff.images.sheets import contact_sheet
from reddiff.metrics import psnr
from reddiff.results import Reconstruction

HERE = Path(__file__).parent


def output(default: str) -> Path:
    """Where the picture goes: `--output`, by default a file in the current directory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path(default), help="the picture")
    return parser.parse_args().output


def photo(name: str) -> Tensor:
    """A photo of the package, (1, 3, 256, 256): astronaut, chelsea or coffee."""
    with files("reddiff").joinpath(f"assets/photos/{name}.png").open("rb") as file:
        return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255


def noisy(y: Tensor, sigma: float) -> Tensor:
    """y + sigma n, the same n every time."""
    return y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))


def report(truth: Tensor, result: Reconstruction, **pictures: Tensor) -> None:
    """Print the PSNR of each picture, and whether the result explains y and no more."""
    for name, picture in pictures.items():
        value = float(psnr(picture.clamp(0, 1), truth))
        print(f"{name.replace('_', ' ')}: {value:.2f} dB")
    best = int(result.data_term.argmin())  # of several runs
    ratio = float(result.residual_ratio.flatten()[best])
    print(f"residual ratio: {ratio:.3f} (about 1: y is explained, and no more)")
    print(result.report())


def save(path: Path, truth: Tensor, **pictures: Tensor) -> None:
    """Save the truth and the pictures side by side, with their PSNR where sizes agree."""
    captions = ["truth"]
    for name, picture in pictures.items():
        comparable = picture.shape == truth.shape
        value = f"\n{float(psnr(picture.clamp(0, 1), truth)):.2f} dB" if comparable else ""
        captions.append(name.replace("_", " ") + value)
    panels = [_panel(picture) for picture in (truth, *pictures.values())]
    contact_sheet([panels], [captions]).save(path)
    print(f"picture: {path}")


def _panel(picture: Tensor) -> Image.Image:
    pixels = (picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels.squeeze())
    factor = max(1, 256 // max(image.size))
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
