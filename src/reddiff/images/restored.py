"""The result of restoring a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.images.io import Picture
from reddiff.metrics.draws import Interval
from reddiff.results import Reconstruction, Status
from reddiff.uncertainty.information import measured_share


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored picture.

    Arguments:
        picture: The result, with the alpha channel, bit depth and profile of the degraded picture.
        noise: The noise level used, in [0, 1] pixel units.
        estimated: Whether it was estimated.
        residual_ratio: The rms of y - A(x) over the noise level: near 1 if x is consistent with y,
            inf for a noise level of 0.
        reconstruction: The run, or all draws, in the units of the prior: latents, if it has them.
        as_pixels: Maps an x of the reconstruction, such as `(c, h, w)`, to a picture in [0, 1].
        notes: Notes and warnings, in sentences; levels are in [0, 1] pixel units.
        prior_std: The standard deviation of the pixels of each channel under the prior, in its
            units; None if it is not known, or without draws.
    """

    picture: Picture
    noise: float
    estimated: bool
    residual_ratio: float
    reconstruction: Reconstruction
    as_pixels: Callable[[Tensor], Tensor]
    notes: tuple[str, ...]
    prior_std: Float[Tensor, "c 1 1"] | None = None

    @property
    def pixels(self) -> Float[Tensor, "c h w"]:
        """The result in [0, 1]."""
        return self.picture.pixels

    @property
    def status(self) -> Status:
        """The status of the run; for draws, the best status of one."""
        status = self.reconstruction.status
        ended = status[status != Status.DIVERGED]
        return Status(int(ended.max() if len(ended) else status.max()))

    @property
    def draws(self) -> Iterator[Float[Tensor, "1 c h w"]]:
        """The draws in [0, 1], one after the other."""
        return (self.as_pixels(x[0])[None] for x in self.reconstruction.draws)

    @property
    def usable(self) -> Bool[Tensor, "1 S"]:
        """The draws that did not diverge."""
        return self.reconstruction.usable

    @property
    def measured_share(self) -> Float[Tensor, "c h w"] | None:
        """The share of each pixel's prior variance that y removed, from 0 to 1, from the draws.

        None if there are less than two draws, or the spread of the prior is not known. See
        `reddiff.measured_share`.
        """
        if self.prior_std is None or int(self.usable.sum()) < 2:
            return None
        share = measured_share(self.reconstruction.std[0], self.prior_std)
        return self.as_pixels(2 * share - 1)

    def interval(self, level: float = 0.9) -> Interval:
        """The central interval of every pixel over the draws, in [0, 1].

        Raises:
            InvalidArgument: If there are too few draws: 19 are needed for 0.9.
        """
        return Interval(*(self.as_pixels(x[0]) for x in self.reconstruction.interval(level)))
