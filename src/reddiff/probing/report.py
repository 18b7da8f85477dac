"""The result of a probe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """A mistake in the use of a network, or a limitation of it.

    Arguments:
        name: One of "prediction", "schedule", "preconditioning", "values", "channels",
            "learned-sigma", "level", "gradient", "train-mode", "random", "batch", "half-precision",
            "finite", "range", "fails", "denoising" and "time".
        sentence: A description, and how to fix it.
        numbers: Measured values, by name.
        wrong: Whether it is a mistake, rather than a limitation.
    """

    name: str
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    wrong: bool = True


@dataclass(frozen=True, eq=False)
class Probe:
    """The result of `probe`; true if there is no mistake.

    Arguments:
        findings: The findings, mistakes first.
        wiring: Python code for the best wiring that was tried.
        levels: Noise levels, in the units of x.
        given: Mean squared error of the given prior at these levels, in squared units of x.
        best: Mean squared error of the best wiring.
    """

    findings: tuple[Finding, ...]
    wiring: str
    levels: Tensor
    given: Tensor
    best: Tensor

    def __bool__(self) -> bool:
        return not any(f.wrong for f in self.findings)

    def names(self) -> set[str]:
        """The names of the mistakes."""
        return {f.name for f in self.findings if f.wrong}

    def __str__(self) -> str:
        """The verdict, the findings, the errors at all levels, and the best wiring."""
        wrong = sum(f.wrong for f in self.findings)
        lines = [f"{wrong} mistake{'s' * (wrong > 1)} found." if wrong else "Nothing is wrong."]
        lines += [f"- {finding.name}: {finding.sentence}" for finding in self.findings]
        if len(self.levels):
            lines.append("Error of the estimates of known images, as PSNR in dB:")
            lines.append("  level      " + "".join(f"{s:>9.3g}" for s in self.levels.tolist()))
            lines.append("  as given   " + _row(self.given))
        if not self.best.equal(self.given):
            lines.append("  best wiring" + _row(self.best))
            lines += ["Best wiring tried:", *(f"  {line}" for line in self.wiring.splitlines())]
        return "\n".join(lines)


def _row(errors: Tensor) -> str:
    return "".join(f"{psnr(e):>9.2f}" for e in errors.tolist())


def psnr(error: float) -> float:
    """The PSNR in dB for a mean squared error of x in [-1, 1]."""
    return math.inf if error == 0 else 10 * math.log10(4 / error)
