"""Agreement of a classifier on pictures and their truths."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.metrics.efficientnet import EfficientNetLite0
from reddiff.metrics.pixel import check_pair


class Top1Agreement(nn.Module):
    """1 for each lane whose most likely class is that of the truth, 0 for the others.

    The mean over pictures is the classifier accuracy (CA) of papers on restoration, here with
    EfficientNet-Lite0. The label is the network's prediction for the truth, or a given one.

    Arguments:
        network: The classifier; one is loaded if none is given.
    """

    def __init__(self, network: EfficientNetLite0 | None = None) -> None:
        super().__init__()
        self.network = EfficientNetLite0() if network is None else network

    def forward(
        self, x: Tensor, truth: Tensor, labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, " b"]:
        """The agreement of each lane.

        Arguments:
            x: Pictures `(b, 3, h, w)` or `(b, 1, h, w)` in [0, 1].
            truth: The true pictures, of the same shape.
            labels: True classes of ImageNet, 0 to 999; by default the predictions for the truth.

        Raises:
            InvalidArgument: If the shapes differ, or these are not pictures or labels.
        """
        check_pair(x, truth)
        if labels is None:
            labels = self.network.logits(self.network(truth)).argmax(1)
        else:
            good = len(labels) == len(x) and bool(((labels >= 0) & (labels < 1000)).all())
            expected = f"{len(x)} classes from 0 to 999"
            require(good, "labels", expected=expected, got=labels.tolist())
        found = self.network.logits(self.network(x))
        agreed = (found.argmax(1) == labels.to(found.device)).to(found)
        return agreed.where(found.isfinite().all(1), torch.nan)
