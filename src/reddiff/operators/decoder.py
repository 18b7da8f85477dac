"""A decoder as an operator: latent problems are pixel problems composed with it."""

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
    r"""Pictures of latents, :math:`x = D(z / k + m)`, with the encoder for the way back.

    `problem.pullback(decoder)` is the problem of z. Where the decoder is a network, A(D(z)) is
    nonlinear in z: closed forms of A are lost, and data steps become Gauss-Newton steps, each of
    several decodings and backward passes through the decoder.

    Arguments:
        net: D, a module or a function from latents `(b, channels, h, w)` to x, differentiable.
        encoder: From x to latents `(b, channels, h, w)`: the start of optimization. None for a
            start at zero.
        channels: Of z.
        factor: The sides of x over those of z.
        scale: k, the factor by which z is larger than the latents of D (`scaling_factor` of
            diffusers' autoencoders); one number, or a tensor to broadcast with z.
        shift: m, the latents at z = 0 (`shift_factor`).

    Raises:
        InvalidArgument: If `net` cannot be called, or channels or factor are no positive integers.
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
            self.register_buffer(name, torch.as_tensor(value), persistent=False)

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.factor}"

    def forward(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        """Pictures of z. Attention is computed in a way that has a second derivative."""
        z = z if self.tap is None else self.tap(z)
        plain = sdpa_kernel(SDPBackend.MATH) if torch.is_grad_enabled() else nullcontext()
        with plain:
            return self.net(z / self.scale.to(z) + self.shift.to(z))

    def encode(self, x: Float[Tensor, "b d H W"]) -> Float[Tensor, "b c h w"]:
        """The z of x.

        Raises:
            InvalidArgument: If there is no encoder.
        """
        require(self.encoder is not None, "encoder", expected="one", got="none")
        assert self.encoder is not None  # noqa: S101
        return (self.encoder(x) - self.shift.to(x)) * self.scale.to(x)

    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape of one z."""
        check_y_shape(y_shape, 3, "c, h, w")
        height, width = y_shape[1:]
        good = height % self.factor == width % self.factor == 0
        expected = f"sides of x that are multiples of {self.factor}, for the decoder"
        require(good, "x", expected=expected, got=f"{height} x {width}")
        return self.channels, height // self.factor, width // self.factor

    @torch.no_grad()
    def initial_estimate(self, y: Float[Tensor, "b d H W"]) -> Float[Tensor, "b c h w"]:
        """The encoder's z; zero without one."""
        return super().initial_estimate(y) if self.encoder is None else self.encode(y)
