"""The networks that a weights file may name. Each is made from the arguments in the metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from reddiff.priors.adm import ADM, Plan
from reddiff.priors.adm_classifier import ADMClassifier
from reddiff.priors.edm import DhariwalUNet, SongUNet
from reddiff.priors.edm_network import EDMPlan
from reddiff.priors.unet import UNet


def _adm(plan: Mapping[str, Any], outputs: int, classes: int | None = None) -> ADM:
    return ADM(Plan(**plan), outputs, classes)


def _adm_classifier(plan: Mapping[str, Any], side: int, classes: int) -> ADMClassifier:
    return ADMClassifier(Plan(**plan), side, classes)


def _song_unet(plan: Mapping[str, Any], ncsn: bool) -> SongUNet:
    return SongUNet(EDMPlan(**plan), ncsn=ncsn)


def _dhariwal_unet(plan: Mapping[str, Any]) -> DhariwalUNet:
    return DhariwalUNet(EDMPlan(**plan))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "adm": _adm,
    "adm-classifier": _adm_classifier,
    "song-unet": _song_unet,
    "dhariwal-unet": _dhariwal_unet,
}
