"""The photo prior: a small U-Net with EDM preconditioning, whose weights are in the package."""

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

BOUND = 6.0  # clips the raw output, whose standard deviation is 1, against overshoot
MOST = 1 << 24  # upper bound on the numbers in a config
ASSET, ERRORS = "assets/photo/photo.safetensors", "assets/photo/errors.json"


def photo_prior(weights: str | Path | None = None) -> EDMPrior:
    """The photo prior: RGB in [-1, 1], any height and width, levels from 0.002 to 80.

    Arguments:
        weights: A safetensors file written by `training/train.py`; by default the one in the
            package.

    Raises:
        WeightsError: If the file is not a safetensors file, or if its tensors do not match the
            network.
    """
    if weights is not None:
        return _load(Path(weights))
    with as_file(files("reddiff").joinpath(ASSET)) as path:
        prior = _load(path)
    prior.errors = ErrorSpectrum.from_json(files("reddiff").joinpath(ERRORS).read_text())
    prior.trusted = True
    return prior


def _load(path: Path) -> EDMPrior:
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise WeightsError(f"{path}: expected a safetensors file, got a folder, pipe or device")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            config = _config(metadata)
            errors = ErrorSpectrum.from_json(metadata["errors"]) if "errors" in metadata else None
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            _check_size(config, shapes)
            net = _without_values(config, shapes)
            net.load_state_dict({key: file.get_tensor(key).float() for key in shapes}, assign=True)
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
    """The arguments of the network, from the metadata.

    Raises:
        KeyError: If there is no config.
        ValueError: If it is not JSON, or has values other than positive integers or lists of them.
        TypeError: If it is not an object with names.
    """
    config = json.loads(metadata["config"])
    if not isinstance(config, dict):
        raise TypeError(f"expected a config with names and numbers, got a {type(config).__name__}")
    for name, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if not all(type(n) is int and 1 <= n < MOST for n in numbers):
            got = str(value)[:60]
            raise ValueError(f"config {name}: expected whole numbers from 1, got {got}")
    return config


def _check_size(config: Mapping[str, Any], shapes: Mapping[str, object]) -> None:
    """Refuse a config with more blocks than the file has tensors, before creating any.

    Raises:
        ValueError: If there are more.
        TypeError: If blocks and channels are not lists.
    """
    blocks, channels = (config.get(name, []) for name in ("blocks", "channels"))
    if not isinstance(blocks, list) or not isinstance(channels, list):
        raise TypeError("config: expected lists of blocks and channels")
    if sum(blocks) + len(channels) > len(shapes):
        asked = f"{sum(blocks)} blocks at {len(channels)} levels"
        raise ValueError(f"config: expected at most {len(shapes)} tensors, got {asked}")


def _without_values(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> UNet:
    """The network described by a config, of tensors without values or memory.

    Raises:
        ValueError: If it is not for RGB, or if its shapes differ from those in the file.
        TypeError: If the config has unknown names.
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
    return net


def weights_hash(prior: torch.nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 hash of all parameters and buffers."""
    digest = sha256()
    for name, value in sorted(prior.state_dict().items()):
        digest.update(name.encode())
        data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(data.numpy().tobytes())
    return digest.hexdigest()[:16]
