"""Autoencoders of diffusers as decoders of a `LatentPrior`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument
from reddiff.operators.decoder import Decoder

AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny", "VQModel")


def decoder_of(autoencoder: Any) -> Decoder:
    """The maps between x and the latents z of the diffusion model.

    With latents h of the autoencoder, :math:`z = k (h - m)`: m is `shift_factor` or `latents_mean`,
    and k is `scaling_factor` (divided by `latents_std`). If the encoder returns a distribution of
    h, its mode is used. The latents of a `VQModel` are not quantized, because quantization has no
    useful derivative.

    Raises:
        InvalidArgument: If the autoencoder is of an unknown class.
    """
    config, name = autoencoder.config, type(autoencoder).__name__
    if name not in _PAIRS:
        raise InvalidArgument("vae", expected=f"one of {', '.join(AUTOENCODERS)}", got=name)
    encode, decode = _PAIRS[name]
    mean, std = (_numbers(config.get(key)) for key in ("latents_mean", "latents_std"))
    scale = (config.get("scaling_factor") or 1.0) / (1.0 if std is None else std)
    return Decoder(
        decode(autoencoder),
        encode(autoencoder),
        channels=int(config["latent_channels"]),
        factor=2
        ** (len(config.get("decoder_block_out_channels") or config["block_out_channels"]) - 1),
        scale=scale,
        shift=(config.get("shift_factor") or 0.0) if mean is None else mean,
    )


class _Part(nn.Module):
    """The encoder or the decoder of an autoencoder."""

    autoencoder: Any

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder


class _Decode(_Part):
    def forward(self, h: Tensor) -> Tensor:
        x: Tensor = self.autoencoder.decode(h).sample
        return x


class _DecodeUnrounded(_Part):
    def forward(self, h: Tensor) -> Tensor:
        x: Tensor = self.autoencoder.decode(h, force_not_quantize=True).sample
        return x


class _Mode(_Part):
    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.autoencoder.encode(x).latent_dist.mode()
        return h


class _Latents(_Part):
    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.autoencoder.encode(x).latents
        return h


_PAIRS: dict[str, tuple[type[_Part], type[_Part]]] = {
    "AutoencoderKL": (_Mode, _Decode),
    "AutoencoderTiny": (_Latents, _Decode),
    "VQModel": (_Latents, _DecodeUnrounded),
}


def _numbers(values: Any) -> Tensor | None:
    """One number per channel, in the shape for multiplication with z."""
    return None if values is None else torch.tensor(values).view(-1, 1, 1)
