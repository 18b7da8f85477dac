"""Training of priors on the user's images, with the recipe of the photo prior."""

from reddiff.training.command import train

__all__ = ["train"]
