"""What is measured of a result: its name in tables, its unit, and what is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "target", "none"]


@dataclass(frozen=True)
class Measure:
    """A measured quantity.

    Arguments:
        label: Its name in tables.
        better: Which values are better; none are marked for `none`.
        digits: Decimals in tables.
        summary: What it is, in a sentence.
        unit: Its unit, if it has one.
        target: The value that is best, for `target`.
        scale: What values are multiplied with in tables.
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
        """Where better values lie, as a sign."""
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
        "Pictures in which EfficientNet-Lite0 sees the class that it sees in the truth, or the "
        "one in the file of labels.",
        "%",
        scale=100,
    ),
    "frechet": Measure(
        "Frechet distance",
        "lower",
        1,
        "Of the normal laws of the features of EfficientNet-Lite0; not FID. It depends on the "
        "number of pictures and has no interval: a resample has fewer different pictures, which "
        "alone raises it.",
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
        "RMS of y - A(x) over the noise level; 1 is consistent with the noise.",
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
        "PSNR, oracle", "none", 2, "PSNR of the run nearest to the truth: chosen with it.", "dB"
    ),
    "evaluations": Measure("Evaluations", "none", 0, "Network evaluations per image."),
    "vjps": Measure("Backward passes", "none", 0, "Backward passes of the network per image."),
    "seconds": Measure("Seconds", "none", 2, "Time per image: that of the batch over its images."),
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
    """The measure of this name; of a name that is not known, four decimals and no order."""
    return MEASURES.get(name, Measure(name, "none", 4, ""))
