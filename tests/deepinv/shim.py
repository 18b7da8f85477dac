"""deepinv imports torchvision, whose compiled operators do not load beside a CPU build of torch.

deepinv uses none of them here, but torchvision describes two on import and fails where they do not
exist. `install` declares them, before torchvision is imported.
"""

from __future__ import annotations

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_NAMES = ("nms", "qnms")
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def install() -> None:
    """Declare what torchvision has not declared itself; calling them fails."""
    for name in _NAMES:
        if not hasattr(torch.ops.torchvision, name):
            _LIBRARY.define(name + _SCHEMA)
