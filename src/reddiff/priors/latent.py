"""A prior of latents, together with the decoder to images."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.decoder import Decoder
from reddiff.priors.around import Around
from reddiff.priors.base import Prior
from reddiff.priors.covariance import Covariance


class LatentPrior(Around):
    """A latent diffusion model: a prior of the latents z of an autoencoder, x = decoder(z).

    Problems are solved for z: `solve(problem.pullback(prior.decoder), prior)` gives a result in z,
    and `prior.decode(result.x)` the image. Composed with a nonlinear decoder, operators have no
    closed form, so that solvers that need one (DDRM, DDNM, MCG) refuse the problem.

    Arguments:
        inner: The prior of z, `(c, h, w)`.
        decoder: Maps z to x.

    Raises:
        InvalidArgument: If the decoder takes another number of channels.
    """

    decoder: Decoder

    def __init__(self, inner: Prior, decoder: Decoder) -> None:
        got = f"latents with {decoder.channels} channels"
        good = inner.shape[0] in (None, decoder.channels)
        require(good, "decoder", expected=f"latents of shape {inner.shape}", got=got)
        super().__init__(inner, inner.shape)
        self.decoder, self.errors = decoder, inner.errors

    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        return self.inner.denoise(x, sigma)

    def error_covariance(self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
        return self.inner.error_covariance(s, like)

    def decode(self, z: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """The images of latents z."""
        x: Tensor = self.decoder(z)
        return x

    def encode(self, x: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The latents of images x.

        Raises:
            InvalidArgument: If the decoder has no encoder.
        """
        return self.decoder.encode(x)
