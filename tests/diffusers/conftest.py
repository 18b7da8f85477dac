"""Very small networks of diffusers, with random weights."""

from __future__ import annotations

import pytest
import torch

import diffusers

torch.set_num_threads(1)

BLOCKS = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def unet(**more: object) -> diffusers.UNet2DModel:
    """For 3 x 16 x 16, in float64."""
    net = diffusers.UNet2DModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        **{**BLOCKS, **more},
    )
    return net.double().requires_grad_(False).eval()


def unet_of_text() -> diffusers.UNet2DConditionModel:
    """For 4 x 8 x 8 and embeddings of 12 numbers, in float64."""
    net = diffusers.UNet2DConditionModel(
        sample_size=8,
        cross_attention_dim=12,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **BLOCKS,
    )
    return net.double().requires_grad_(False).eval()


def autoencoder_kl(**more: object) -> diffusers.AutoencoderKL:
    """Pictures of 3 channels to latents of 4, half as large."""
    net = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        **more,
    )
    return net.requires_grad_(False).eval()


def autoencoder_tiny() -> diffusers.AutoencoderTiny:
    """Pictures of 3 channels to latents of 4, half as large."""
    net = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        scaling_factor=0.8,
    )
    return net.requires_grad_(False).eval()


def vq_model() -> diffusers.VQModel:
    """Pictures of 3 channels to latents of 4, half as large."""
    net = diffusers.VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        num_vq_embeddings=16,
    )
    return net.requires_grad_(False).eval()
