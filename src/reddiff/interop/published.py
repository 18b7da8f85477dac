"""Published networks by name: their architecture, and how they were trained.

References:
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal & Nichol, 2021), Appendix I, and the
    | flags of its public files, https://github.com/openai/guided-diffusion
    | Diffusion Posterior Sampling (Chung et al., 2023), Appendix D.1: FFHQ,
    | https://arxiv.org/abs/2209.14687
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    | Tables 1, 7 and 8, https://arxiv.org/abs/2206.00364
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reddiff.interop.wiring import Wiring


@dataclass(frozen=True)
class Published:
    """A network whose weights are public.

    Arguments:
        summary: The training data.
        architecture: A name in `ARCHITECTURES`.
        arguments: The arguments of the architecture.
        wiring: How it was trained.
    """

    summary: str
    architecture: str
    arguments: Mapping[str, Any]
    wiring: Wiring


# The multipliers of the width at each level, by the side of the pictures.
_LEVELS: dict[int, Sequence[float]] = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}


def _plan(side: int, width: int, blocks: int, attention: Sequence[int] = (32, 16, 8)) -> Any:
    """A `Plan` with attention at these sides, with 64 channels per head."""
    levels = list(_LEVELS[side])
    reductions = [side // a for a in attention]
    plan = {"channels": 3, "width": width, "multipliers": levels, "blocks": blocks}
    return plan | {"attention": reductions, "head_width": 64}


def _summary(what: str, side: int, classes: int | None) -> str:
    labels = "no labels" if classes is None else f"{classes} labels"
    return f"{what} at {side} x {side}, {labels}"


def _adm(
    side: int,
    plan: Mapping[str, Any],
    what: str,
    classes: int | None = None,
    schedule: str = "linear",
) -> Published:
    """An ADM network that predicts eps and a variance, on a chain of 1000 steps."""
    multiple = 2 ** (len(_LEVELS[side]) - 1)
    wiring = Wiring("eps", schedule, (3, side, side), multiple=multiple, classes=classes)
    arguments = {"plan": plan, "outputs": 6, "classes": classes}
    return Published(_summary(what, side, classes), "adm", arguments, wiring)


def _classifier(side: int, blocks: int = 2, schedule: str = "linear") -> Published:
    wiring = Wiring(schedule=schedule, shape=(3, side, side), classes=1000)
    arguments = {"plan": _plan(side, 128, blocks), "side": side, "classes": 1000}
    summary = f"the labels of noisy ImageNet at {side} x {side}"
    return Published(summary, "adm-classifier", arguments, wiring)


_AUGMENTATIONS = 9  # features of the augmentation of EDM's training, Table 6


def _edm_plan(
    side: int, multipliers: Sequence[int], augmentations: int, classes: int | None
) -> Any:
    """An `EDMPlan` of DDPM++ and NCSN++."""
    plan = {"side": side, "channels": 3, "width": 128, "multipliers": multipliers, "blocks": 4}
    return plan | {"attention": [16], "augmentations": augmentations, "classes": classes}


def _edm(side: int, what: str, classes: int | None = None, *, ncsn: bool) -> Published:
    """A network of DDPM++ or NCSN++, as EDM trains it."""
    multipliers = [2, 2, 2] if side == 32 else [1, 2, 2, 2]
    arguments = {"plan": _edm_plan(side, multipliers, _AUGMENTATIONS, classes), "ncsn": ncsn}
    multiple = 2 ** (len(multipliers) - 1)
    wiring = Wiring("edm", None, (3, side, side), multiple=multiple, classes=classes)
    return Published(_summary(what, side, classes), "song-unet", arguments, wiring)


def _baseline(side: int, what: str, classes: int | None = None, *, ncsn: bool) -> Published:
    """A network of EDM's baselines: VP with DDPM++, VE with NCSN++."""
    arguments = {"plan": _edm_plan(side, [1, 2, 2, 2], 0, classes), "ncsn": ncsn}
    prediction, schedule = ("scaled-score", _EDM_VE) if ncsn else ("eps", _EDM_VP)
    wiring = Wiring(prediction, schedule, (3, side, side), multiple=8, classes=classes)
    return Published(_summary(what, side, classes), "song-unet", arguments, wiring)


def _edm_adm(side: int, what: str, classes: int) -> Published:
    plan = {"side": side, "channels": 3, "width": 192, "multipliers": [1, 2, 3, 4], "blocks": 3}
    arguments = {"plan": plan | {"attention": [32, 16, 8], "classes": classes}}
    wiring = Wiring("edm", None, (3, side, side), multiple=8, classes=classes)
    return Published(_summary(what, side, classes), "dhariwal-unet", arguments, wiring)


_EDM_VP = {"name": "vp", "t_min": 1e-5, "times": 999}
_EDM_VE = {"name": "ve", "sigma_min": 0.02, "sigma_max": 100, "log_time": True}

PUBLISHED = {
    "adm-64": _adm(64, _plan(64, 192, 3) | {"heads_first": False}, "ImageNet", 1000, "cosine"),
    "adm-128": _adm(128, _plan(128, 256, 2) | {"heads": 4, "head_width": None}, "ImageNet", 1000),
    "adm-256": _adm(256, _plan(256, 256, 2), "ImageNet or LSUN"),
    "adm-256-cond": _adm(256, _plan(256, 256, 2), "ImageNet", 1000),
    "adm-512": _adm(512, _plan(512, 256, 2), "ImageNet", 1000),
    "adm-ffhq-256": _adm(256, _plan(256, 128, 1, (16,)), "FFHQ"),
    "adm-64-classifier": _classifier(64, 4, "cosine"),
    "adm-128-classifier": _classifier(128),
    "adm-256-classifier": _classifier(256),
    "adm-512-classifier": _classifier(512),
    "edm-32-vp": _edm(32, "CIFAR-10", ncsn=False),
    "edm-32-vp-cond": _edm(32, "CIFAR-10", 10, ncsn=False),
    "edm-32-ve": _edm(32, "CIFAR-10", ncsn=True),
    "edm-32-ve-cond": _edm(32, "CIFAR-10", 10, ncsn=True),
    "edm-64-vp": _edm(64, "FFHQ or AFHQv2", ncsn=False),
    "edm-64-ve": _edm(64, "FFHQ or AFHQv2", ncsn=True),
    "edm-64-adm": _edm_adm(64, "ImageNet", 1000),
    "vp-32": _baseline(32, "CIFAR-10", ncsn=False),
    "vp-32-cond": _baseline(32, "CIFAR-10", 10, ncsn=False),
    "vp-64": _baseline(64, "FFHQ or AFHQv2", ncsn=False),
    "ve-32": _baseline(32, "CIFAR-10", ncsn=True),
    "ve-32-cond": _baseline(32, "CIFAR-10", 10, ncsn=True),
    "ve-64": _baseline(64, "FFHQ or AFHQv2", ncsn=True),
}
