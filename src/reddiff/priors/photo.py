"""The embedded photo prior: a small U-Net under EDM preconditioning, its weights in the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from reddiff.errors import WeightsError
from reddiff.priors.error_spectrum import ErrorSpectrum
from reddiff.priors.parametric import EDMPrior
from reddiff.priors.unet import UNet

BOUND = 6.0  # a guard against overshoot: of the raw output, whose deviation is 1
MOST = 1 << 24  # of any number in a config
ASSET, ERRORS = "assets/photo/photo.safetensors", "assets/photo/errors.json"


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
        prior = _load(path)
    prior.errors = ErrorSpectrum.from_json(files("reddiff").joinpath(ERRORS).read_text())
    prior.trusted = True
    return prior


def _load(path: Path) -> EDMPrior:
    if path.exists() and not path.is_file():  # a pipe has no end
        raise WeightsError(f"{path}: expected a safetensors file, got a folder, pipe or device")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            config = _config(metadata)
            errors = ErrorSpectrum.from_json(metadata["errors"]) if "errors" in metadata else None
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            _check_size(config, shapes)
            _check_shapes(config, shapes)
            net = UNet(**config)
            net.load_state_dict({key: file.get_tensor(key).float() for key in shapes})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got {error}") from error
    except KeyError as error:
        raise WeightsError(f"{path}: expected an entry {error} in the metadata") from error
    except (RuntimeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        lines = str(error).splitlines()
        raise WeightsError(f"{path}: {' '.join(line.strip() for line in lines[:4])}") from error
    net.to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    prior = EDMPrior(net, (3, None, None), compute=torch.bfloat16, bound=BOUND)
    prior.values, prior.errors = (-1.0, 1.0), errors
    return prior.requires_grad_(False).eval()


def _config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of the network.

    Raises:
        KeyError: If there are none.
        ValueError: If they are no JSON, or others than whole numbers and lists of them.
        TypeError: If they have no names.
    """
    config = json.loads(metadata["config"])
    if not isinstance(config, dict):
        raise TypeError(f"expected a config of names and numbers, got a {type(config).__name__}")
    for name, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if not all(type(n) is int and 1 <= n < MOST for n in numbers):
            got = str(value)[:60]
            raise ValueError(f"config {name}: expected whole numbers from 1, got {got}")
    return config


def _check_size(config: Mapping[str, Any], shapes: Mapping[str, object]) -> None:
    """Refuse a config of more blocks than the file has tensors for, before any is made.

    Raises:
        ValueError: If it asks for more.
    """
    blocks, channels = (config.get(name, []) for name in ("blocks", "channels"))
    if not isinstance(blocks, list) or not isinstance(channels, list):
        raise TypeError("config: expected lists of blocks and channels")
    if sum(blocks) + len(channels) > len(shapes):
        asked = f"{sum(blocks)} blocks at {len(channels)} levels"
        raise ValueError(f"config: expected what {len(shapes)} tensors hold, got {asked}")


def _check_shapes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the network that a config describes with the tensors, before it takes any memory.

    Raises:
        ValueError: If it is not for RGB, or its tensors are of other shapes than the file's.
        TypeError: If the config has other names.
    """
    if config.get("image_channels", 3) != 3:
        raise ValueError(f"config image_channels: expected 3, got {config['image_channels']}")
    with torch.device("meta"):
        net = UNet(**config)
    wanted_shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    for key, shape in shapes.items():
        if shape != wanted_shapes.get(key, shape):
            raise ValueError(f"size mismatch for {key}: expected {wanted_shapes[key]}, got {shape}")
    lost, more = sorted(set(wanted_shapes) - set(shapes)), sorted(set(shapes) - set(wanted_shapes))
    for name, keys in (("Missing key", lost), ("Unexpected key", more)):
        if keys:
            raise ValueError(f"{name}: {', '.join(keys[:3])}{', ...' * (len(keys) > 3)}")


def weights_hash(prior: torch.nn.Module) -> str:
    """The SHA-256 of all parameters and buffers, as 16 hexadecimal digits."""
    digest = sha256()
    for name, value in sorted(prior.state_dict().items()):
        digest.update(name.encode())
        data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(data.numpy().tobytes())
    return digest.hexdigest()[:16]
