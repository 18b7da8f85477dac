"""How the channels of a picture are restored. Nothing heavy: the command line reads this first."""

from enum import Enum


class Channels(Enum):
    """Whether the channels of a pixel are restored as one color, or each as a gray picture."""

    AUTO = "auto"
    COLOR = "color"
    APART = "apart"
