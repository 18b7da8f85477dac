"""The embedded photo prior: a small U-Net under EDM preconditioning, its weights in the package."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from reddiff.errors import WeightsError
from reddiff.files import open_regular
from reddiff.priors.parametric import EDMPrior
from reddiff.priors.refined import raw_network

BOUND = 6.0  # the network, which has no normalisation, overshoots on rare textures
ASSET = "assets/photo/photo.safetensors"


def photo_prior(weights: str | Path | None = None) -> EDMPrior:
    """The photo prior: RGB in [-1, 1], any height and width, levels from 0.002 to 80.

    Arguments:
        weights: A safetensors file that `training/train.py` wrote; the embedded one by default.

    Raises:
        WeightsError: If the file is not safetensors, or its tensors are not those of the network.
    """
    if weights is not None:
        return _load(Path(weights))
    with as_file(files("reddiff").joinpath(ASSET)) as path:
        return _load(path)


def _load(path: Path) -> EDMPrior:
    try:
        with open_regular(path), safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got {error}") from error
    try:
        net, trained = raw_network(json.loads(metadata["config"]))
        trained.load_state_dict(tensors)
    except KeyError as error:
        raise WeightsError(f"{path}: expected an entry {error} in the metadata") from error
    except (RuntimeError, TypeError, ValueError) as error:
        lines = str(error).splitlines()
        raise WeightsError(f"{path}: {' '.join(line.strip() for line in lines[:4])}") from error
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prior = EDMPrior(net, (3, None, None), compute=torch.bfloat16, bound=BOUND)
    return prior.requires_grad_(False).eval()


def weights_hash(prior: torch.nn.Module) -> str:
    """The SHA-256 of all parameters and buffers, as 16 hexadecimal digits."""
    digest = sha256()
    for name, value in sorted(prior.state_dict().items()):
        digest.update(name.encode())
        data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(data.numpy().tobytes())
    return digest.hexdigest()[:16]
