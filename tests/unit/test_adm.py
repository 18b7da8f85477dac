"""The networks of guided diffusion, against a plain computation by the names of their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from reddiff import InvalidArgument
from reddiff.priors.adm import ADM, Plan
from reddiff.priors.adm_classifier import ADMClassifier
from zoo.tensors import F64

PLAN = Plan(3, 32, (1, 2, 2), 2, (2, 4), head_width=16)
PLANS = {
    "as published": PLAN,
    "heads in another order": replace(PLAN, heads_first=False),
    "a number of heads": replace(PLAN, heads=4, head_width=None),
    "single convolutions": replace(PLAN, scale_shift=False, resblock_updown=False),
    "half a width": replace(PLAN, width=64, multipliers=(0.5, 1)),
}


class Plain:
    """The network as written in the paper's appendix and code, from a state dict alone."""

    def __init__(self, tensors: Mapping[str, Tensor], plan: Plan) -> None:
        self.tensors, self.plan = tensors, plan

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        if weight.ndim == 3:
            return torch.einsum("oi,bin->bon", weight[:, :, 0], x) + bias[:, None]
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        groups = x.reshape(len(x), 32, -1)
        mean = groups.mean(2, keepdim=True)
        var = groups.var(2, keepdim=True, unbiased=False)
        out = ((groups - mean) / (var + 1e-5).sqrt()).reshape(x.shape)
        shape = (1, -1, *[1] * (x.ndim - 2))
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return out * weight.view(shape) + bias.view(shape)

    def time(self, t: Tensor) -> Tensor:
        half = self.plan.width // 2
        angle = torch.stack([t / 10000 ** (i / half) for i in range(half)], 1)
        h = self.linear("time_embed.0", torch.cat([angle.cos(), angle.sin()], 1))
        return self.linear("time_embed.2", h * h.sigmoid())

    def attention(self, name: str, x: Tensor, width: int, heads_first: bool) -> Tensor:
        """Head by head, of x `(b, 3 c, n)`."""
        b, c3, n = x.shape
        c = c3 // 3
        out = torch.empty(b, c, n, dtype=x.dtype)
        for head in range(c // width):
            starts = [3 * head * width + i * width for i in range(3)]
            if not heads_first:
                starts = [i * c + head * width for i in range(3)]
            q, k, v = (x[:, s : s + width] for s in starts)
            weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / width**0.5, -1)
            out[:, head * width : (head + 1) * width] = torch.einsum("bts,bcs->bct", weights, v)
        return out

    def head_width(self, channels: int) -> int:
        return self.plan.head_width or channels // self.plan.heads

    def block(self, name: str, x: Tensor, emb: Tensor, size: float) -> Tensor:
        h = self.norm(f"{name}.in_layers.0", x)
        h = h * h.sigmoid()
        if size < 1:
            h, x = (v.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)) for v in (h, x))
        if size > 1:
            h, x = (v.repeat_interleave(2, 2).repeat_interleave(2, 3) for v in (h, x))
        h = self.conv(f"{name}.in_layers.2", h)
        e = self.linear(f"{name}.emb_layers.1", emb * emb.sigmoid())[:, :, None, None]
        if self.plan.scale_shift:
            h = self.norm(f"{name}.out_layers.0", h)
            h = h * (1 + e[:, : h.shape[1]]) + e[:, h.shape[1] :]
        else:
            h = self.norm(f"{name}.out_layers.0", h + e)
        h = self.conv(f"{name}.out_layers.3", h * h.sigmoid())
        skip = f"{name}.skip_connection"
        return h + (self.conv(skip, x) if f"{skip}.weight" in self.tensors else x)

    def stage(self, name: str, x: Tensor, emb: Tensor, sizes: Sequence[float]) -> Tensor:
        """The layers of a stage, each known by the names of its tensors."""
        for i, size in enumerate(sizes):
            layer = f"{name}.{i}"
            if f"{layer}.in_layers.0.weight" in self.tensors:
                x = self.block(layer, x, emb, size)
            elif f"{layer}.qkv.weight" in self.tensors:
                flat = x.flatten(2)
                qkv = self.conv(f"{layer}.qkv", self.norm(f"{layer}.norm", flat))
                width = self.head_width(x.shape[1])
                h = self.attention(layer, qkv, width, self.plan.heads_first)
                x = (flat + self.conv(f"{layer}.proj_out", h)).reshape(x.shape)
            elif f"{layer}.op.weight" in self.tensors:
                x = self.conv(f"{layer}.op", x, stride=2)
            elif f"{layer}.conv.weight" in self.tensors:
                big = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
                x = self.conv(f"{layer}.conv", big)
            elif f"{layer}.weight" in self.tensors:
                x = self.conv(layer, x)
        return x

    def down(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        out, i = [self.stage("input_blocks.0", x, emb, [1])], 1
        for level in range(len(self.plan.multipliers)):
            last = level == len(self.plan.multipliers) - 1
            for size in [1.0] * self.plan.blocks + [0.5] * (not last):
                out.append(self.stage(f"input_blocks.{i}", out[-1], emb, [size, 1]))
                i += 1
        return out

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb = self.time(t)
        if y is not None:
            emb = emb + self.tensors["label_emb.weight"][y]
        skips = self.down(x, emb)
        h = self.stage("middle_block", skips[-1], emb, [1, 1, 1])
        count = self.plan.blocks + 1
        for i in range(count * len(self.plan.multipliers)):
            joined = torch.cat([h, skips.pop()], 1)
            attends = f"output_blocks.{i}.1.qkv.weight" in self.tensors
            grows = (i + 1) % count == 0
            sizes = [1.0] + [1.0] * attends + [2.0] * grows
            h = self.stage(f"output_blocks.{i}", joined, emb, sizes)
        h = self.norm("out.0", h)
        return self.conv("out.2", h * h.sigmoid())

    def logits(self, x: Tensor, t: Tensor) -> Tensor:
        emb = self.time(t)
        h = self.stage("middle_block", self.down(x, emb)[-1], emb, [1, 1, 1])
        h = self.norm("out.0", h)
        flat = (h * h.sigmoid()).flatten(2)
        flat = torch.cat([flat.mean(2, keepdim=True), flat], 2)
        flat = flat + self.tensors["out.2.positional_embedding"]
        qkv = self.conv("out.2.qkv_proj", flat)
        h = self.attention("out.2", qkv, self.head_width(h.shape[1]), heads_first=False)
        return self.conv("out.2.c_proj", h)[:, :, 0]


def randomized(net: nn.Module) -> nn.Module:
    """A network in float64 none of whose layers is trivial."""
    net = net.double().eval().requires_grad_(False)
    for i, tensor in enumerate(net.state_dict().values()):
        tensor.copy_(zoo.randn(*tensor.shape, seed=i) * (0.1 if tensor.ndim > 1 else 0.5))
    return net


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("classes", [None, 5])
def test_adm_is_what_its_tensors_say(name: str, classes: int | None) -> None:
    plan = PLANS[name]
    net = randomized(ADM(plan, 6, classes))
    x, t = zoo.randn(2, 3, 8, 12), torch.tensor([3.25, 871.0], dtype=F64)
    y = None if classes is None else torch.tensor([4, 0])
    wanted = Plain(net.state_dict(), plan)(x, t, y)
    torch.testing.assert_close(net(x, t, y), wanted, rtol=1e-9, atol=1e-9)
    assert float(wanted.std()) > 0.1


def test_the_classifier_is_what_its_tensors_say() -> None:
    net = randomized(ADMClassifier(PLAN, 16, 10))
    x, t = zoo.randn(2, 3, 16, 16), torch.tensor([3.25, 871.0], dtype=F64)
    wanted = Plain(net.state_dict(), PLAN).logits(x, t)
    torch.testing.assert_close(net(x, t), wanted, rtol=1e-9, atol=1e-9)


def test_labels_and_integer_steps() -> None:
    net = ADM(replace(PLAN, blocks=1, multipliers=(1,)), 3, 5).eval()
    x, t = torch.zeros(1, 3, 4, 4), torch.tensor([7])
    torch.testing.assert_close(net(x, t, t - 3), net(x, t.float(), t - 3))
    with pytest.raises(InvalidArgument, match="y: expected a label"):
        net(x, t)
    with pytest.raises(InvalidArgument, match="y: expected no label"):
        ADM(replace(PLAN, blocks=1, multipliers=(1,)), 3)(x, t, t)


def test_half_precision_follows_full() -> None:
    """Features of the step are computed in full precision and rounded."""
    net = ADM(PLAN, 3).eval().requires_grad_(False)
    x, t = (
        torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.tensor([801.3]),
    )
    wanted = net(x, t)
    off = (net.to(torch.bfloat16)(x.bfloat16(), t).float() - wanted).norm() / wanted.norm()
    assert float(off) < 0.05
