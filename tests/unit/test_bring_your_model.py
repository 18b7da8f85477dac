"""Every block of code of docs/bring-your-model.md runs, on stand-ins of the models it is about."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import reddiff
from reddiff import Gaussian, Problem
from reddiff.interop.header import Header
from reddiff.interop.weights import save_weights
from reddiff.interop.wiring import Wiring
from reddiff.operators import Identity
from reddiff.priors.adm import ADM, Plan
from reddiff.priors.adm_classifier import ADMClassifier
from reddiff.priors.edm import SongUNet
from reddiff.priors.edm_network import EDMPlan
from stand_ins import DDPM, DIFFUSERS, ONNXRUNTIME, AutoencoderTiny, DDPMScheduler, UNet2DModel
from zoo.priors import chain

PAGE = Path(__file__).parents[2] / "docs" / "bring-your-model.md"
BLOCKS = re.findall(r"\n## ([^\n]*)|```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
VAR = 0.09


class Even(nn.Module):
    """The noise in white x over the steps of DDPM, and a learned variance; sides in eights."""

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        assert not any(n % 8 for n in x_t.shape[2:])
        alpha, sigma = (v.to(x_t).view(-1, 1, 1, 1) for v in chain(t.double()))
        eps = sigma * x_t / (VAR * alpha**2 + sigma**2)
        return torch.cat([eps, eps], 1)


def velocity(x_t: Tensor, t: Tensor) -> Tensor:
    """Of any path near its middle."""
    return x_t * t.view(-1, 1, 1, 1)


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    return x * VAR / (VAR + sigma.view(-1, 1, 1, 1) ** 2)


def names() -> dict[str, Any]:
    """What the page takes for granted."""
    x = 0.3 * torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    two = Problem.simulate(x, Identity(), Gaussian(0.1))
    scheduler, unet = DDPMScheduler(prediction_type="sample"), UNet2DModel()
    parts = {"unet": unet, "scheduler": scheduler}
    return {
        "unet": unet,
        "scheduler": scheduler,
        "pipeline": SimpleNamespace(components=parts),
        "latent_pipeline": SimpleNamespace(components=parts | {"vae": AutoencoderTiny()}),
        "reddiff": reddiff,
        "torch": torch,
        "math": math,
        "net": Even(),
        "labeled": Even(),
        "score": lambda x, t: -x,
        "velocity": velocity,
        "denoise": denoise,
        "two_lanes": two,
        "problem": two.select(torch.tensor([0])),
    }


def lay_out(folder: Path) -> None:
    """The files that the page reads."""
    (folder / "denoiser.onnx").write_bytes(b"")
    files = {
        "model_index.json": {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", ""]},
        "unet/config.json": {"_class_name": "UNet2DModel"},
        "unet/model.safetensors": {},
        "scheduler/scheduler_config.json": DDPM,
    }
    for name, entries in files.items():
        path = folder / "ddpm-celebahq" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entries))


def recipes() -> list[Any]:
    """The blocks, each under the heading that it follows."""
    found, heading = [], ""
    for title, code in BLOCKS:
        heading = title or heading
        if code:
            found.append(pytest.param(code, id=f"{heading}-{len(found)}"))
    return found


def save_files() -> None:
    """Narrow networks in place of those of the converted files that the page reads."""
    plan = {"channels": 3, "width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2]}
    wiring = Wiring("eps", "linear", (3, None, None), multiple=2)
    torch.manual_seed(0)
    net = ADM(Plan(**plan), 6)
    with torch.no_grad():  # a fresh network is far from a denoiser: this one estimates no noise
        for tensor in net.out[2].parameters():
            tensor.zero_()
    header = Header("adm", {"plan": plan, "outputs": 6}, wiring)
    save_weights("imagenet.safetensors", net.state_dict(), header)
    judge = ADMClassifier(Plan(**plan), 16, 5)
    wiring = Wiring(schedule="linear", shape=(3, 16, 16))
    header = Header("adm-classifier", {"plan": plan, "side": 16, "classes": 5}, wiring)
    save_weights("classifier.safetensors", judge.state_dict(), header)
    plan = {"side": 16, "channels": 3, "width": 32, "multipliers": [1, 2], "blocks": 1}
    plan |= {"attention": [8], "augmentations": 9}
    wiring = Wiring("edm", shape=(3, None, None), multiple=2)
    song = SongUNet(EDMPlan(**plan), ncsn=False)
    with torch.no_grad():  # F = 0: x is shrunk
        for tensor in song.dec["16x16_aux_conv"].parameters():
            tensor.zero_()
    header = Header("song-unet", {"plan": plan, "ncsn": False}, wiring)
    save_weights("ffhq.safetensors", song.state_dict(), header)


@pytest.mark.parametrize("code", recipes())
def test_recipe(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", DIFFUSERS)
    monkeypatch.setitem(sys.modules, "onnxruntime", ONNXRUNTIME)
    if ".safetensors" in code:
        save_files()
    given = names() | {
        "prior": reddiff.prior(denoise, prediction="denoiser", shape=(3, None, None))
    }
    if "classifier" in code:  # of squares
        x = 0.3 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        given["problem"] = Problem.simulate(x, Identity(), Gaussian(0.1))
    exec(code, given)
    if "result" in given:
        assert torch.isfinite(given["result"].x).all()
