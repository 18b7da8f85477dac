"""The networks of EDM, against a plain computation by the names of their tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import reddiff
import zoo
from reddiff import InvalidArgument
from reddiff.priors.edm import DhariwalUNet, SongUNet
from reddiff.priors.edm_network import EDMNetwork, EDMPlan
from zoo.tensors import F64

PLAN = EDMPlan(16, 3, 32, (1, 2, 2), 2, (8,), classes=5, augmentations=9)
NETWORKS = {
    "DDPM++": lambda: SongUNet(PLAN, ncsn=False),
    "DDPM++ without labels": lambda: SongUNet(replace(PLAN, classes=None), ncsn=False),
    "NCSN++": lambda: SongUNet(PLAN, ncsn=True),
    "NCSN++ without augmentation": lambda: SongUNet(replace(PLAN, augmentations=0), ncsn=True),
    "ADM": lambda: DhariwalUNet(replace(PLAN, width=64, multipliers=(2, 2, 3))),
    "ADM without labels": lambda: DhariwalUNet(replace(PLAN, width=64, classes=None)),
}


class Plain:
    """The network as written in the paper's appendix, from a state dict alone."""

    def __init__(self, tensors: Mapping[str, Tensor], plan: EDMPlan) -> None:
        self.tensors, self.plan = tensors, plan
        self.adm = "out_conv.weight" in tensors
        self.scale, self.eps = (1.0, 1e-5) if self.adm else (0.5**0.5, 1e-6)

    def linear(self, name: str, x: Tensor) -> Tensor:
        bias = self.tensors.get(f"{name}.bias")
        out = x @ self.tensors[f"{name}.weight"].T
        return out if bias is None else out + bias

    def norm(self, name: str, x: Tensor) -> Tensor:
        groups = x.reshape(len(x), min(32, x.shape[1] // 4), -1)
        var, mean = torch.var_mean(groups, 2, correction=0, keepdim=True)
        out = ((groups - mean) / (var + self.eps).sqrt()).reshape(x.shape)
        weight, bias = (self.tensors[f"{name}.{k}"][:, None, None] for k in ("weight", "bias"))
        return out * weight + bias

    def conv(self, name: str, x: Tensor, size: float, last: bool = False) -> Tensor:
        """A convolution and a change of the sides; one alone where there is no other tensor."""
        weight = self.tensors.get(f"{name}.weight")
        filtered = self.tensors.get(f"{name}.resample_filter")
        reach = 0 if filtered is None or not last else (len(filtered[0, 0]) - 1) // 2
        if filtered is not None and not last:
            x = self.resample(x, filtered[0, 0], size)
        if weight is not None:
            bias = self.tensors[f"{name}.bias"]
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2 + reach)
        if filtered is not None and last:
            x = self.resample(F.pad(x, [-reach] * 4), filtered[0, 0], size, x)
        return x

    @staticmethod
    def resample(x: Tensor, kernel: Tensor, size: float, wide: Tensor | None = None) -> Tensor:
        """Pixel by pixel of the kernel."""
        n, taps = len(kernel), range(len(kernel))
        reach = (n - 1) // 2
        height, width = x.shape[2:]
        if size < 1:
            wide = F.pad(x, [reach] * 4) if wide is None else wide
            return sum(
                kernel[i, j] * wide[..., i : i + height : 2, j : j + width : 2]
                for i in taps
                for j in taps
            )
        out = x.new_zeros(*x.shape[:2], 2 * height + 2 * reach, 2 * width + 2 * reach)
        for i in taps:
            for j in taps:
                rows, columns = slice(i, i + 2 * height, 2), slice(j, j + 2 * width, 2)
                out[..., rows, columns] += 4 * kernel[i, j] * x
        return F.pad(out, [-reach] * 4)

    def attention(self, name: str, x: Tensor) -> Tensor:
        """Head by head; queries, keys and values alternate."""
        b, c, h, w = x.shape
        qkv = self.conv(f"{name}.qkv", self.norm(f"{name}.norm2", x), 1).flatten(2)
        heads = c // 64 if self.adm else 1
        out = []
        for head in qkv.chunk(heads, dim=1):
            q, k, v = head[:, 0::3], head[:, 1::3], head[:, 2::3]
            weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / q.shape[1] ** 0.5, -1)
            out.append(torch.einsum("bts,bcs->bct", weights, v))
        return self.conv(f"{name}.proj", torch.cat(out, 1).view(b, c, h, w), 1)

    def block(self, name: str, x: Tensor, emb: Tensor) -> Tensor:
        size = 0.5 if name.endswith("down") else 2.0
        h = self.norm(f"{name}.norm0", x)
        h = self.conv(f"{name}.conv0", h * h.sigmoid(), size)
        e = self.linear(f"{name}.affine", emb)[:, :, None, None]
        if self.adm:
            h = self.norm(f"{name}.norm1", h) * (1 + e[:, : h.shape[1]]) + e[:, h.shape[1] :]
        else:
            h = self.norm(f"{name}.norm1", h + e)
        h = self.conv(f"{name}.conv1", h * h.sigmoid(), 1)
        x = (h + self.conv(f"{name}.skip", x, size)) * self.scale
        if f"{name}.qkv.weight" in self.tensors:
            x = (x + self.attention(name, x)) * self.scale
        return x

    def embed(self, t: Tensor, y: Tensor | None) -> Tensor:
        half = self.plan.width // 2
        frequencies = self.tensors.get("map_noise.freqs")
        if frequencies is not None:
            angle = 2 * math.pi * t[:, None] * frequencies
        else:
            steps = half if self.adm else half - 1
            angle = torch.stack([t / 10000 ** (i / steps) for i in range(half)], 1)
        sines = [angle.cos(), angle.sin()] if self.adm else [angle.sin(), angle.cos()]
        emb = torch.cat(sines, 1)
        hot = None if y is None else F.one_hot(y, self.plan.classes).to(t)
        if hot is not None and not self.adm:
            emb = emb + self.linear("map_label", hot * self.plan.classes**0.5)
        emb = self.linear("map_layer0", emb)
        emb = self.linear("map_layer1", emb * emb.sigmoid())
        if hot is not None and self.adm:
            emb = emb + self.linear("map_label", hot)
        return emb * emb.sigmoid()

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        emb, aux, skips = self.embed(t, y), x, []
        for name in dict.fromkeys(".".join(k.split(".")[:2]) for k in self.tensors):
            if "aux_residual" in name:
                x = aux = (x + self.conv(name, aux, 0.5, last=True)) * self.scale
                skips[-1] = x
            elif name.startswith("enc"):
                first = name.endswith("_conv")
                x = self.conv(name, x, 1) if first else self.block(name, x, emb)
                skips.append(x)
            elif name.startswith("dec") and "aux" not in name:
                x = torch.cat([x, skips.pop()], 1) if "block" in name else x
                x = self.block(name, x, emb)
        ends = ["out_norm", "out_conv"]
        if not self.adm:
            ends = [f"dec.16x16_aux_{k}" for k in ("norm", "conv")]
        x = self.norm(ends[0], x)
        return self.conv(ends[1], x * x.sigmoid(), 1)


def randomized(net: EDMNetwork) -> nn.Module:
    """A network in float64 none of whose layers is trivial; its filters stay as they are."""
    net = net.double().eval().requires_grad_(False)
    for i, (name, tensor) in enumerate(net.state_dict().items()):
        if not name.endswith("resample_filter"):
            tensor.copy_(zoo.randn(*tensor.shape, seed=i) * (0.1 if tensor.ndim > 1 else 0.5))
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_what_its_tensors_say(name: str) -> None:
    net = randomized(NETWORKS[name]())
    x, t = zoo.randn(2, 3, 16, 8), torch.tensor([-1.3, 0.7], dtype=F64)
    y = None if net.plan.classes is None else torch.tensor([4, 0])
    wanted = Plain(net.state_dict(), net.plan)(x, t, y)
    torch.testing.assert_close(net(x, t, y), wanted, rtol=1e-9, atol=1e-9)
    assert float(wanted.std()) > 0.1


def test_labels_are_asked_for() -> None:
    x, t = torch.zeros(1, 3, 8, 8), torch.zeros(1)
    plan = replace(PLAN, multipliers=(1,), blocks=1)
    with pytest.raises(InvalidArgument, match="y: expected a label"):
        SongUNet(plan, ncsn=False)(x, t)
    with pytest.raises(InvalidArgument, match="y: expected no label"):
        DhariwalUNet(replace(plan, classes=None))(x, t, torch.zeros(1, dtype=torch.int64))


def test_half_precision_follows_full() -> None:
    net = SongUNet(replace(PLAN, classes=None), ncsn=True).eval().requires_grad_(False)
    x, t = zoo.randn(1, 3, 16, 16).float(), torch.tensor([0.4])
    wanted = net(x, t)
    off = (net.to(torch.bfloat16)(x.bfloat16(), t).float() - wanted).norm() / wanted.norm()
    assert float(off) < 0.05


def test_the_baseline_of_ve_gives_sigma_times_the_score() -> None:
    """D = x + sigma F(x, ln(sigma / 2)), Table 1 of the paper."""
    seen = []

    def net(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return x.sin()

    schedule = {"name": "ve", "sigma_min": 0.02, "sigma_max": 100, "log_time": True}
    prior = reddiff.prior(net, prediction="scaled-score", schedule=schedule, shape=(3, 4, 4))
    x, s = zoo.randn(2, 3, 4, 4), torch.tensor([0.3, 4.0], dtype=F64)
    wanted = x + s[:, None, None, None] * x.sin()
    torch.testing.assert_close(prior(x, s), wanted)
    torch.testing.assert_close(seen[0], (s / 2).log())
    assert (prior.sigma_min, prior.sigma_max) == (0.02, 100)
    with pytest.raises(InvalidArgument, match="prediction: expected one other than the velocity"):
        reddiff.prior(net, prediction="flow", schedule=schedule, shape=(3, 4, 4))
