"""Weights files of this package: safetensors files whose metadata define the network.

The entry `reddiff` of the metadata is a JSON object:

- `architecture`: a name in `architectures.ARCHITECTURES`;
- `arguments`: an object, its keyword arguments;
- `wiring`: an object, the fields of `Wiring` that are set.

An optional entry `errors` has the measured error (`ErrorSpectrum.to_json`). Tensors have the names
of the network's state dict. The first photo networks have an entry `config` instead of `reddiff`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from reddiff.errors import ReddiffError, WeightsError
from reddiff.files import write_whole
from reddiff.interop.architectures import ARCHITECTURES
from reddiff.interop.header import Header
from reddiff.interop.vocabulary import path_of
from reddiff.interop.wiring import Wiring
from reddiff.priors.adm_classifier import ADMClassifier
from reddiff.priors.base import Prior
from reddiff.priors.classifier_guidance import NoisyClassifier
from reddiff.priors.error_spectrum import ErrorSpectrum
from reddiff.priors.photo import photo_prior

ENTRY = "reddiff"
DTYPES = {torch.float32: "F32", torch.float16: "F16"}  # by the names of safetensors
SHOWN = 5  # names of tensors in a message


def save_weights(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    header: Header,
    errors: ErrorSpectrum | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    force: bool = True,
) -> None:
    """Write a weights file for `reddiff.prior`. It is written whole or not at all.

    Arguments:
        path: The file.
        tensors: The state dict of the network.
        header: The network, and how it was trained.
        errors: The measured error of the prior, if any.
        dtype: The dtype of the numbers in the file.
        force: Replace an existing file.

    Raises:
        PictureError: If the file cannot be written.
    """
    metadata = {ENTRY: header.to_json()}
    if errors is not None:
        metadata["errors"] = errors.to_json()
    write_whole(path, _serialized(tensors, metadata, dtype), force=force)


def _serialized(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype
) -> Iterator[bytes]:
    """The bytes of a safetensors file, one tensor at a time."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * dtype.itemsize
        shape, offsets = list(tensor.shape), [start, end]
        entries[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": offsets}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    yield struct.pack("<Q", len(header)) + header
    for tensor in tensors.values():
        flat = tensor.detach().to("cpu", dtype).contiguous().flatten()
        yield flat.view(torch.uint8).numpy().tobytes()


def load_weights(path: str | Path, declared: Wiring) -> Prior:
    """The prior in a weights file.

    Arguments:
        path: The file.
        declared: Declarations of the caller, which take precedence over the file.

    Raises:
        WeightsError: If the file is not safetensors, or its tensors do not match the network.
    """
    with _open(Path(path)) as (file, metadata):
        if ENTRY not in metadata:
            return photo_prior(path)
        net, header = _network(file, metadata, str(path))
    expected = "a prior, got a classifier (reddiff.load_classifier reads it)"
    if isinstance(net, ADMClassifier):
        raise WeightsError(f"{path}: expected {expected}")
    prior = declared.over(header.wiring).prior(net)
    if "errors" in metadata:
        prior.errors = ErrorSpectrum.from_json(metadata["errors"])
    return prior.requires_grad_(False).eval()


def load_classifier(path: str | Path) -> NoisyClassifier:
    """The classifier of noisy pictures in a weights file, for `ClassifierGuidance`.

    Arguments:
        path: A file that `reddiff convert --arch adm-256-classifier` wrote.

    Raises:
        WeightsError: If the file is not such a file, or its tensors do not match the network.
    """
    with _open(Path(path)) as (file, metadata):
        if ENTRY not in metadata:
            raise WeightsError(f"{path}: expected a file of reddiff convert, got other weights")
        net, header = _network(file, metadata, str(path))
    wiring = header.wiring
    if not isinstance(net, ADMClassifier):
        got = f"a network {header.architecture} (reddiff.prior reads it)"
        raise WeightsError(f"{path}: expected a classifier, got {got}")
    chain = path_of(wiring.schedule, "eps")
    classifier = NoisyClassifier(net, chain, net.classes, tuple(wiring.shape or ()))
    return classifier.requires_grad_(False).eval()


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """A weights file and its metadata; errors name the file, in one line.

    Raises:
        WeightsError: If it is not a weights file, or an operation on it fails.
    """
    if path.exists() and not path.is_file():  # a pipe may never end
        raise WeightsError(f"{path}: expected a safetensors file, got a folder, pipe or device")
    try:
        with safe_open(path, framework="pt") as file:
            yield file, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got {error}") from error
    except ReddiffError as error:
        raise WeightsError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    except (RuntimeError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise WeightsError(f"{path}: {' '.join(str(error).split())}") from error


def _network(file: Any, metadata: Mapping[str, str], name: str) -> tuple[nn.Module, Header]:
    """The network in a file, without a second copy of the tensors in memory."""
    header = Header.from_json(metadata[ENTRY])
    shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    with torch.device("meta"):
        net = ARCHITECTURES[header.architecture](**header.arguments)
    compare({k: tuple(v.shape) for k, v in net.state_dict().items()}, shapes, name)
    net.load_state_dict({key: file.get_tensor(key).float() for key in shapes}, assign=True)
    return net, header


def compare(
    wanted: Mapping[str, tuple[int, ...]],
    got: Mapping[str, tuple[int, ...]],
    name: str,
    of: str = "the network",
) -> None:
    """Compare the names and shapes of tensors.

    Raises:
        WeightsError: If they differ. The message has the first five differences of each kind.
    """
    kinds = {
        "missing": [k for k in wanted if k not in got],
        "unexpected": [k for k in got if k not in wanted],
        "of another shape": [
            f"{k} {got[k]} for {wanted[k]}" for k in wanted if k in got and got[k] != wanted[k]
        ],
    }
    parts = [
        f"{len(keys)} {kind}: {', '.join(keys[:SHOWN])}{', ...' * (len(keys) > SHOWN)}"
        for kind, keys in kinds.items()
        if keys
    ]
    if parts:
        raise WeightsError(f"{name}: expected the tensors of {of}, got {'; '.join(parts)}")
