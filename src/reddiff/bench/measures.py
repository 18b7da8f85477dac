"""The quantities that are measured for a result: name in tables, unit, and better values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "target", "none"]


@dataclass(frozen=True)
class Measure:
    """A measured quantity.

    Arguments:
        label: Its name in tables.
        better: Which values are better; for `none`, no values are marked.
        digits: Decimals in tables.
        summary: Its definition, in a sentence.
        unit: Its unit, if it has one.
        target: The best value, if `better` is `target`.
        scale: A factor for values in tables.
    """

    label: str
    better: Direction
    digits: int
    summary: str
    unit: str = ""
    target: float = 0.0
    scale: float = 1.0

    @property
    def arrow(self) -> str:
        """A sign for the direction of better values."""
        aim = f"→ {self.target * self.scale:g}"
        return {"higher": "↑", "lower": "↓", "target": aim, "none": ""}[self.better]

    @property
    def title(self) -> str:
        """The label with the unit and the sign."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.label}{unit} {self.arrow}".rstrip()

    def loss(self, value: float) -> float:
        """A number that is smaller for better values."""
        if self.better == "target":
            return abs(value - self.target)
        return -value if self.better == "higher" else value

    def text(self, value: float, *, sign: bool = False) -> str:
        """A value as in tables."""
        return f"{value * self.scale:{'+' * sign}.{self.digits}f}"


MEASURES = {
    "psnr": Measure("PSNR", "higher", 2, "Peak signal-to-noise ratio to the truth.", "dB"),
    "ssim": Measure("SSIM", "higher", 3, "Structural similarity to the truth, data range 1."),
    "lpips": Measure(
        "LPIPS", "lower", 3, "Learned perceptual distance to the truth, version 0.1 on AlexNet."
    ),
    "top1": Measure(
        "Top-1 agreement",
        "higher",
        0,
        "Pictures for which EfficientNet-Lite0 predicts the same class as for the truth, or the "
        "class in the file of labels.",
        "%",
        scale=100,
    ),
    "frechet": Measure(
        "Frechet distance",
        "lower",
        1,
        "Frechet distance between normal fits to the features of EfficientNet-Lite0; not FID. It "
        "depends on the number of pictures, and has no interval: a bootstrap resample has fewer "
        "distinct pictures, which alone raises it.",
    ),
    "kernel": Measure(
        "Kernel distance",
        "lower",
        3,
        "Squared MMD of the features of EfficientNet-Lite0 with a cubic kernel, unbiased; not KID.",
    ),
    "residual": Measure(
        "Residual / noise",
        "target",
        2,
        "RMS of y - A(x) divided by the noise level; 1 is consistent with the noise.",
        target=1,
    ),
    "spread": Measure(
        "Spread", "none", 3, "RMS over pixels of the standard deviation of the draws."
    ),
    "coverage_90": Measure(
        "90 % coverage",
        "target",
        0,
        "Pixels of the truth inside the central 90 % interval of the draws.",
        "%",
        target=0.9,
        scale=100,
    ),
    "exact_rmse": Measure(
        "Distance to exact mean", "lower", 4, "RMS distance to the exact posterior mean."
    ),
    "psnr_oracle": Measure(
        "PSNR, oracle",
        "none",
        2,
        "PSNR of the best run, selected with knowledge of the truth.",
        "dB",
    ),
    "evaluations": Measure("Evaluations", "none", 0, "Network evaluations per image."),
    "vjps": Measure("Backward passes", "none", 0, "Backward passes of the network per image."),
    "seconds": Measure("Seconds", "none", 2, "Time of the batch divided by its number of images."),
    "peak_bytes": Measure(
        "Memory",
        "none",
        1,
        "Peak memory of a batch beyond one call of the bare network.",
        "MB",
        scale=1e-6,
    ),
}
COSTS = ("evaluations", "vjps", "seconds", "peak_bytes")


def measure(name: str) -> Measure:
    """The measure of this name. An unknown name has four decimals and no better values."""
    return MEASURES.get(name, Measure(name, "none", 4, ""))
