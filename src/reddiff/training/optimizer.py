"""The optimizer: Muon and Adam, with gradients clipped relative to their mean norm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from reddiff.priors import UNet


def orthogonalized(matrices: Tensor) -> Tensor:
    """An approximation of U V^T for matrices U S V^T, by Newton-Schulz steps in bfloat16."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon (Nesterov, rates as for Adam), batched over matrices of the same shape.

    Without batching, the small matrix products would take longer on a GPU than the network.

    References:
        | Muon: An optimizer for hidden layers in neural networks (Jordan et al., 2024)
        | Muon is Scalable for LLM Training (Liu et al., 2025): the rates,
        | https://arxiv.org/abs/2502.16982
    """

    def __init__(
        self, matrices: Iterable[Tensor], momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(matrices, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures
        """Make one update."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                shapes[matrix.shape].append(matrix)
                if not self.state[matrix]:
                    self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
            for (rows, columns), same in shapes.items():
                grads = [m.grad for m in same if m.grad is not None]
                means = [self.state[matrix]["momentum_buffer"] for matrix in same]
                torch._foreach_lerp_(means, grads, 1 - momentum)
                ahead = torch._foreach_lerp(grads, means, momentum)
                length = rate * 0.2 * max(rows, columns) ** 0.5
                steps = (length * orthogonalized(torch.stack(list(ahead)))).unbind()
                torch._foreach_mul_(same, 1 - rate * group["weight_decay"])
                torch._foreach_sub_(same, steps)


class Optimizer:
    """Muon for the weights of inner convolutions, as matrices, and Adam for other parameters.

    Each matrix (out, height * width * in) is a second parameter that shares the memory of the
    weight, which must be in channels-last format.

    Arguments:
        net: The network, with weights in channels-last format.
        muon: Whether to use Muon; otherwise Adam is used for all parameters.
        clip: The largest norm of the gradient, relative to its running mean.
    """

    def __init__(self, net: UNet, muon: bool, clip: float) -> None:
        inner = (nn.Conv2d, nn.ConvTranspose2d) if muon else ()
        outer = (net.head, net.tail)
        self.convs = [m.weight for m in net.modules() if isinstance(m, inner) and m not in outer]
        self.matrices = [nn.Parameter(self.matrix(w.detach())) for w in self.convs]
        ids = {id(weight) for weight in self.convs}
        rest = [p for p in net.parameters() if id(p) not in ids]
        self.parameters, self.clip = list(net.parameters()), clip
        self.norm = torch.zeros(2, device=rest[0].device)  # sums of norms and of weights
        cuda = rest[0].is_cuda
        self.parts: dict[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(rest, betas=(0.9, 0.99), capturable=cuda)
        }
        if self.matrices:
            self.parts["muon"] = Muon(self.matrices)
        self.rate(0.0)

    @staticmethod
    def matrix(weight: Tensor) -> Tensor:
        """A view of the weight as a matrix."""
        return weight.permute(0, 2, 3, 1).flatten(1)

    def rate(self, rate: float) -> None:
        """Set the learning rate; that of Adam is a third of that of Muon, for stability."""
        for name, part in self.parts.items():
            own = rate / 3 if name == "adam" and self.matrices else rate
            for group in part.param_groups:
                if not isinstance(group["lr"], Tensor):  # a tensor, so that CUDA graphs see changes
                    group["lr"] = torch.zeros((), device=self.norm.device)
                group["lr"].fill_(own)

    def step(self) -> None:
        """Make one update."""
        self._clip()
        for weight, matrix in zip(self.convs, self.matrices, strict=True):
            if weight.grad is not None:
                matrix.grad = self.matrix(weight.grad)
        for part in self.parts.values():
            part.step()

    def _clip(self) -> None:
        """Clip gradients with an unusually large norm; the mean uses the clipped norm."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(grads)
        mean = torch.where(self.norm[1] > 0, self.norm[0] / self.norm[1], norm)
        factor = (self.clip * mean / norm).clamp(max=1)
        torch._foreach_mul_(grads, factor)
        self.norm.mul_(0.99).add_(torch.stack([factor * norm, torch.ones_like(norm)]))

    def state(self) -> dict[str, Tensor]:
        """The tensors of the optimizers, by names that `load` expects."""
        parts = {
            f"opt.{name}.{i}.{key}": value.contiguous()
            for name, part in self.parts.items()
            for i, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }
        return parts | {"opt.norm": self.norm}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore the tensors returned by `state`."""
        self.norm.copy_(tensors["opt.norm"])
        for name, part in self.parts.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"opt.{name}."):
                    _, _, i, field = key.split(".", 3)
                    state.setdefault(int(i), {})[field] = value
            part.load_state_dict({**part.state_dict(), "state": state})
