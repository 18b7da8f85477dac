"""Simulate the measurement of a picture, with pixels in [0, 1]."""

from __future__ import annotations

from dataclasses import replace

from reddiff.images.arguments import Source, keywords, open_image, open_task
from reddiff.images.conversions import take_numbers
from reddiff.images.io import Picture
from reddiff.images.settings import Degradation
from reddiff.random import MEASURING, Keys
from reddiff.run.modes import ordinary


@keywords(Degradation)
def degrade(image: Source, settings: Degradation) -> Picture:
    """Simulate a measurement of a picture: the task's operator and noise, clipped to [0, 1].

    Noise is added last, except for `hdr`, `quantize` and `jpeg`: there it is added before clipping,
    rounding or compression.

    Arguments:
        image: The picture, as for `restore`.
        settings: The fields of `Degradation` as keyword arguments; only `task` is required.

    Raises:
        InvalidArgument: If an argument cannot be used.
        PictureError: If the image cannot be read.
    """
    return degrade_with(image, settings)


@ordinary
def degrade_with(image: Source, settings: Degradation) -> Picture:
    """`degrade`, with the settings in one object."""
    settings = take_numbers(settings)
    opened = open_image(image, settings)
    picture = opened.picture
    task = open_task(image, opened, settings, notes=[])
    rng = Keys(settings.seed, (0,)).at(MEASURING)
    y = task.degrade(picture.pixels, settings.noise or 0.0, rng)
    alpha = picture.alpha
    if alpha is not None and y.shape[1:] != alpha.shape[1:]:
        alpha = task.degrade(alpha)
    return replace(picture, pixels=y.clamp(0, 1), alpha=alpha)
