"""The priors included in the package, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reddiff.priors.base import Prior
from reddiff.priors.ffdnet import FFDNetPrior
from reddiff.priors.photo import photo_prior


@dataclass(frozen=True)
class PriorEntry:
    """A prior for images.

    Arguments:
        summary: A description of one line.
        make: Loads the prior.
    """

    summary: str
    make: Callable[[], Prior]


PRIORS = {
    "photo": PriorEntry("our U-Net, trained on photos; levels 0.002 to 80", photo_prior),
    "ffdnet": PriorEntry("FFDNet (Zhang et al., 2018), low and middle levels", FFDNetPrior),
}
