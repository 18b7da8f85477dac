"""Training of priors: the recipe of the photo prior, for pictures of one's own."""

from reddiff.training.command import train

__all__ = ["train"]
