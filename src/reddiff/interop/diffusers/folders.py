"""Folders that diffusers saved: a pipeline, or a network with a scheduler beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from reddiff.errors import InvalidArgument, WeightsError, import_package
from reddiff.interop.diffusers.autoencoders import AUTOENCODERS, decoder_of
from reddiff.interop.diffusers.models import network_prior, scheduler_beside
from reddiff.interop.wiring import Wiring
from reddiff.priors.base import Prior
from reddiff.priors.latent import LatentPrior

NETWORKS = ("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel")
NETWORK_PARTS, AUTOENCODER_PARTS = ("unet", "transformer"), ("vae", "vqvae")
INDEX = "model_index.json"


@runtime_checkable
class Pipeline(Protocol):
    """A pipeline of diffusers."""

    components: Mapping[str, Any]


def is_folder(source: object) -> bool:
    """Whether this is the path of a folder that diffusers saved."""
    if not isinstance(source, str | Path):
        return False
    return any((Path(source) / name).is_file() for name in (INDEX, "config.json"))


def pipeline_prior(pipeline: Pipeline, declared: Wiring) -> Prior:
    """The prior of a pipeline; a `LatentPrior` if the pipeline has an autoencoder.

    Raises:
        InvalidArgument: If it has no network or no scheduler.
    """
    parts = {name: part for name, part in pipeline.components.items() if part is not None}
    return _assembled(parts, declared, type(pipeline).__name__)


def folder_prior(source: str | Path, declared: Wiring) -> Prior:
    """The prior in a folder that `save_pretrained` wrote. Nothing is downloaded or unpickled.

    Arguments:
        source: The folder of a pipeline, or of a network. The scheduler of a network is in the
            folder itself, in `scheduler/` inside or beside it, or is given as `schedule`.
        declared: Declarations of the caller; `schedule` may be a folder as well.

    Raises:
        WeightsError: If a file is missing or damaged, or the weights are pickles.
        InvalidArgument: If a prior cannot be made from the parts.
    """
    folder = Path(source)
    if isinstance(declared.schedule, str | Path) and Path(declared.schedule).is_dir():
        declared = replace(declared, schedule=_scheduler(Path(declared.schedule)))
    if not (folder / INDEX).is_file():
        net = _loaded(folder, NETWORKS)
        parts = {"unet": net}
        beside = scheduler_beside(folder)
        if beside is not None:
            parts["scheduler"] = _json(beside)
        return _assembled(parts, declared, str(folder))
    index = _json(folder / INDEX)
    there = [name for name, value in index.items() if isinstance(value, list) and value[0]]
    parts = {name: _loaded(folder / name, NETWORKS) for name in NETWORK_PARTS if name in there}
    parts |= {n: _loaded(folder / n, AUTOENCODERS) for n in AUTOENCODER_PARTS if n in there}
    if "scheduler" in there:
        parts["scheduler"] = _scheduler(folder / "scheduler")
    return _assembled(parts, declared, str(folder))


def _assembled(parts: Mapping[str, Any], declared: Wiring, name: str) -> Prior:
    net = next((parts[part] for part in NETWORK_PARTS if part in parts), None)
    if net is None:
        got = f"{name} with {', '.join(parts) or 'nothing'}"
        raise InvalidArgument("prior", expected="a pipeline with a U-Net", got=got)
    if declared.schedule is None and "scheduler" in parts:
        declared = replace(declared, schedule=parts["scheduler"])
    autoencoder = next((parts[part] for part in AUTOENCODER_PARTS if part in parts), None)
    if autoencoder is None:
        return network_prior(net, declared)
    if declared.values is None and declared.mean is None:  # latents are not pictures
        declared = replace(declared, values=(-float("inf"), float("inf")))
    return LatentPrior(network_prior(net, declared), decoder_of(autoencoder))


def _loaded(folder: Path, known: tuple[str, ...]) -> Any:
    """A network from its folder.

    Raises:
        WeightsError: As `folder_prior`.
    """
    name = _json(folder / "config.json").get("_class_name")
    if name not in known:
        raise WeightsError(f"{folder}: expected one of {', '.join(known)}, got {name}")
    if not any(folder.glob("*.safetensors")):
        found = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.ckpt")))
        convert = f"{name}.from_pretrained(F, use_safetensors=False).save_pretrained(F)"
        advice = f"; diffusers converts: {convert}" if found else ""
        got = ", ".join(found) or "none"
        raise WeightsError(f"{folder}: expected weights in .safetensors, got {got}{advice}")
    kind = getattr(_library(), name)
    try:
        net = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise WeightsError(f"{folder}: {' '.join(str(error).split())}") from error
    return net.requires_grad_(False).eval()


def _library() -> Any:
    """The package diffusers.

    Raises:
        InvalidArgument: If it is not installed.
    """
    return import_package("diffusers", "prior", "diffusers")


def _scheduler(folder: Path) -> Mapping[str, Any]:
    file = scheduler_beside(folder)
    return _json(folder / "scheduler_config.json" if file is None else file)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected a JSON object, got {error}") from error
    if not isinstance(entries, dict):
        raise WeightsError(f"{path}: expected a JSON object, got a {type(entries).__name__}")
    return entries
