"""Networks with the configs of diffusers, and an onnxruntime: without either of them."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

DDPM = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "num_train_timesteps": 1000}
UNET = {"in_channels": 3, "out_channels": 3, "sample_size": 16, "block_out_channels": (8, 16, 16)}


class UNet2DModel(nn.Module):
    """Half of x_t plus the sum of the condition; sides are multiples of 4."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = {**UNET, **config}
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, sample: Tensor, timestep: Tensor, condition: Tensor | None = None) -> Any:
        assert sample.shape[-1] % 4 == sample.shape[-2] % 4 == 0
        out = self.scale * sample
        if condition is not None:
            out = out + condition.reshape(len(sample), -1).sum(1).view(-1, 1, 1, 1)
        return SimpleNamespace(sample=out)

    @classmethod
    def from_pretrained(cls, folder: Path, **options: Any) -> UNet2DModel:
        assert options["use_safetensors"]
        assert options["local_files_only"]
        return cls()


class DDPMScheduler:
    def __init__(self, **config: Any) -> None:
        self.config = {**DDPM, **config}


class AutoencoderTiny(nn.Module):
    """x to 3 channels half as large, and back."""

    config: ClassVar = {
        "latent_channels": 3,
        "block_out_channels": (4, 4),
        "scaling_factor": 2.0,
    }

    def encode(self, x: Tensor) -> Any:
        return SimpleNamespace(latents=nn.functional.avg_pool2d(x, 2))

    def decode(self, h: Tensor) -> Any:
        return SimpleNamespace(sample=nn.functional.interpolate(h.tanh(), scale_factor=2))

    @classmethod
    def from_pretrained(cls, folder: Path, **options: Any) -> AutoencoderTiny:
        assert options["use_safetensors"]
        return cls()


class Session:
    """onnxruntime's: x / 4 + t / 8 + label."""

    inputs: ClassVar[list[Any]] = [
        ("x", ["b", 3, "h", "w"], "tensor(float)"),
        ("t", ["b"], "tensor(float)"),
    ]
    calls: ClassVar[list[Any]] = []

    def __init__(self, path: str, options: Any, providers: list[str]) -> None:
        if b"not ONNX" in Path(path).read_bytes():
            raise RuntimeError("INVALID_PROTOBUF:\n it is none")
        assert providers == ["CPUExecutionProvider"]
        Session.calls, self.options = [], options

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=n, shape=s, type=k) for n, s, k in self.inputs]

    def run(self, outputs: None, feed: dict[str, Any]) -> list[Any]:
        Session.calls.append({k: (v.dtype.name, v.shape) for k, v in feed.items()})
        rest = [feed[k] * factor for k, factor in (("t", 0.125), ("label", 1)) if k in feed]
        total = sum((np.reshape(v, (-1, 1, 1, 1)) for v in rest), 0)
        return [feed["x"] / 4 + total]


ONNXRUNTIME = SimpleNamespace(
    InferenceSession=Session,
    SessionOptions=SimpleNamespace,
    __spec__=ModuleSpec("onnxruntime", None),  # torch looks for it
)
DIFFUSERS = SimpleNamespace(UNet2DModel=UNet2DModel, AutoencoderTiny=AutoencoderTiny)
