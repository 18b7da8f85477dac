"""The decoder of a latent model as an operator, for problems posed in its latent space."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from reddiff.errors import require, require_count
from reddiff.operators.base import Operator, Shape
from reddiff.operators.shapes import check_y_shape

Map = Callable[[Tensor], Tensor]


class Decoder(Operator):
    r"""Decodes latents, :math:`x = D(z / k + m)`; `encode` maps back.

    `problem.pullback(decoder)` restates a problem for x as one for z. If D is a network, A(D(z))
    is nonlinear in z. The closed forms of A no longer apply: data steps become Gauss-Newton steps,
    which run the decoder forwards and backwards several times.

    Arguments:
        net: D, a differentiable module or function from latents `(b, channels, h, w)` to x.
        encoder: From x to latents `(b, channels, h, w)`; gives the start of optimization. With
            None, optimization starts at zero.
        channels: Number of channels of z.
        factor: Ratio of the sides of x to those of z.
        scale: k, the factor by which z is larger than the latents of D (`scaling_factor` of
            diffusers' autoencoders); one number, or a tensor to broadcast with z.
        shift: m, the latents at z = 0 (`shift_factor`).

    Raises:
        InvalidArgument: If `net` or `encoder` is not callable, or `channels` or `factor` is not a
            positive integer.
    """

    scale: Tensor
    shift: Tensor
    tap: Map | None = None  # called with every z on its way to D

    def __init__(
        self,
        net: Map,
        encoder: Map | None = None,
        *,
        channels: int,
        factor: int = 1,
        scale: float | Tensor = 1.0,
        shift: float | Tensor = 0.0,
    ) -> None:
        super().__init__()
        expected = "a module or a function of a tensor"
        require(callable(net), "decoder", expected=expected, got=type(net).__name__)
        good = encoder is None or callable(encoder)
        require(good, "encoder", expected=expected, got=type(encoder).__name__)
        require_count("channels", channels)
        require_count("factor", factor)
        self.net, self.encoder, self.channels, self.factor = net, encoder, channels, factor
        for name, value in (("scale", scale), ("shift", shift)):
            exact = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            self.register_buffer(name, exact, persistent=False)

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.factor}"

    def forward(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        """x for latents z, with an attention kernel that can be differentiated twice."""
        z = z if self.tap is None else self.tap(z)
        plain = sdpa_kernel(SDPBackend.MATH) if torch.is_grad_enabled() else nullcontext()
        with plain:
            return self.net(z / self.scale.to(z) + self.shift.to(z))

    def encode(self, x: Float[Tensor, "b d H W"]) -> Float[Tensor, "b c h w"]:
        """The latents z of images x.

        Raises:
            InvalidArgument: If there is no encoder.
        """
        require(self.encoder is not None, "encoder", expected="one", got="none")
        assert self.encoder is not None  # noqa: S101
        return (self.encoder(x) - self.shift.to(x)) * self.scale.to(x)

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "c, h, w")
        height, width = y_shape[1:]
        good = height % self.factor == width % self.factor == 0
        expected = f"sides of x that are multiples of {self.factor}, for the decoder"
        require(good, "x", expected=expected, got=f"{height} x {width}")
        return self.channels, height // self.factor, width // self.factor

    @torch.no_grad()
    def initial_estimate(self, y: Float[Tensor, "b d H W"]) -> Float[Tensor, "b c h w"]:
        """The encoded y, or zero without an encoder."""
        return super().initial_estimate(y) if self.encoder is None else self.encode(y)
