"""The optimiser: Muon or Adam, with gradients clipped by their own history."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reddiff.priors import UNet


class Optimizer:
    """Muon for the inner convolutions, each seen as a matrix, and Adam for the rest.

    torch.optim.Muon takes matrices only. Each matrix here, (out, height * width * in), is a second
    parameter on the memory of the convolution's weight, which must be channels last.

    Arguments:
        net: The network; its weights are stored channels last.
        muon: Whether to use Muon at all; without it, Adam takes everything.
        clip: The largest norm of the gradient, over the running mean of that norm.
    """

    def __init__(self, net: UNet, muon: bool, clip: float) -> None:
        inner = (nn.Conv2d, nn.ConvTranspose2d) if muon else ()
        outer = (net.head, net.tail)
        self.convs = [m.weight for m in net.modules() if isinstance(m, inner) and m not in outer]
        self.matrices = [nn.Parameter(self.matrix(w.detach())) for w in self.convs]
        ids = {id(weight) for weight in self.convs}
        rest = [p for p in net.parameters() if id(p) not in ids]
        self.parameters, self.clip = list(net.parameters()), clip
        self.norm = torch.zeros(2, device=rest[0].device)  # the sum of norms, and of its weights
        self.parts: dict[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(rest, betas=(0.9, 0.99))
        }
        if self.matrices:
            self.parts["muon"] = torch.optim.Muon(
                self.matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            )

    @staticmethod
    def matrix(weight: Tensor) -> Tensor:
        """The weight as a matrix, without a copy."""
        return weight.permute(0, 2, 3, 1).flatten(1)

    def step(self, rate: float) -> None:
        """One update; Adam goes at a third of the learning rate of Muon, for stability."""
        self._clip()
        for weight, matrix in zip(self.convs, self.matrices, strict=True):
            assert weight.grad is not None and weight.data_ptr() == matrix.data_ptr()
            matrix.grad = self.matrix(weight.grad)
        for name, part in self.parts.items():
            for group in part.param_groups:
                group["lr"] = rate / 3 if name == "adam" and self.matrices else rate
            part.step()

    def _clip(self) -> None:
        """Shrink a gradient much longer than usual; it counts as no longer in the mean either."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(grads)
        mean = torch.where(self.norm[1] > 0, self.norm[0] / self.norm[1], norm)
        factor = (self.clip * mean / norm).clamp(max=1)
        torch._foreach_mul_(grads, factor)
        self.norm.mul_(0.99).add_(torch.stack([factor * norm, torch.ones_like(norm)]))

    def state(self) -> dict[str, Tensor]:
        """The optimisers' tensors, under names that `load` understands."""
        parts = {
            f"opt.{name}.{i}.{key}": value.contiguous()
            for name, part in self.parts.items()
            for i, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }
        return parts | {"opt.norm": self.norm}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from the tensors that `state` gave."""
        self.norm.copy_(tensors["opt.norm"])
        for name, part in self.parts.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"opt.{name}."):
                    _, _, i, field = key.split(".", 3)
                    state.setdefault(int(i), {})[field] = value
            part.load_state_dict({**part.state_dict(), "state": state})
