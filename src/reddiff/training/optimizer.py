"""The optimizer: Muon or Adam, with gradients clipped by their own history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from reddiff.priors import UNet


def orthogonalized(matrices: Tensor) -> Tensor:
    """About U V' of each matrix U S V', (n, rows, columns): Newton-Schulz steps in bfloat16."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon (Nesterov, rates as for Adam), all matrices of one shape at a time.

    One by one, their small products would take a GPU longer than the network does.

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
        """One update."""
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
    """Muon for the inner convolutions, each seen as a matrix, and Adam for the rest.

    Each matrix, (out, height * width * in), is a second parameter on the memory of the
    convolution's weight, which must be channels last.

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
        cuda = rest[0].is_cuda
        self.parts: dict[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(rest, betas=(0.9, 0.99), capturable=cuda)
        }
        if self.matrices:
            self.parts["muon"] = Muon(self.matrices)
        self.rate(0.0)

    @staticmethod
    def matrix(weight: Tensor) -> Tensor:
        """The weight as a matrix, without a copy."""
        return weight.permute(0, 2, 3, 1).flatten(1)

    def rate(self, rate: float) -> None:
        """Set the learning rate; Adam's is a third of Muon's, for stability."""
        for name, part in self.parts.items():
            own = rate / 3 if name == "adam" and self.matrices else rate
            for group in part.param_groups:
                if not isinstance(group["lr"], Tensor):  # in a tensor, a recorded step sees it
                    group["lr"] = torch.zeros((), device=self.norm.device)
                group["lr"].fill_(own)

    def step(self) -> None:
        """One update."""
        self._clip()
        for weight, matrix in zip(self.convs, self.matrices, strict=True):
            if weight.grad is not None:
                matrix.grad = self.matrix(weight.grad)
        for part in self.parts.values():
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
        """The optimizers' tensors, under names that `load` understands."""
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
