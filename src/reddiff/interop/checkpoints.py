"""Read the tensors of a checkpoint without running code in it."""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reddiff.errors import WeightsError
from reddiff.files import open_regular

Shape = tuple[int, ...]
# Exceptions of torch and safetensors for damaged files and other formats.
DAMAGED = (
    SafetensorError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    AssertionError,
    OSError,
    struct.error,
)
DEPTH = 4  # of dicts in dicts
EXPORT = "torch.save(net.state_dict(), 'weights.pt') where it can be loaded"


@dataclass(frozen=True)
class Tensors:
    """The tensors of one network in a checkpoint.

    Arguments:
        place: Their location: the entries of the checkpoint, and the common prefix of all names.
        tensors: Name in the network -> tensor.
        others: The number of other tensors, which are ignored.
    """

    place: str
    tensors: Mapping[str, Tensor]
    others: int


def read_checkpoint(path: str | Path, wanted: Mapping[str, Shape]) -> Tensors:
    """The tensors of a network, from the entry of the checkpoint that fits it best.

    An entry may be a dict inside the checkpoint, such as "state_dict" or "ema", and all names may
    have a prefix, such as "module.". Among entries that fit equally well, averaged weights ("ema")
    are preferred.

    Arguments:
        path: A file that `torch.save` or safetensors wrote. Tensors are memory-mapped if the format
            allows it.
        wanted: The shapes of the network's tensors, by name.

    Raises:
        WeightsError: If the file has no tensors by name, or contains more than data.
        PictureError: If it cannot be read.
    """
    found = list(_named(_read(Path(path)), "", DEPTH))
    if not found:
        raise WeightsError(f"{path}: expected tensors by name, got none (save net.state_dict())")
    places = [
        (place, tensors, prefix)
        for place, tensors in found
        for prefix in _prefixes(tensors, wanted)
    ]

    def fit(candidate: tuple[str, Mapping[str, Tensor], str]) -> tuple[int, bool]:
        place, tensors, prefix = candidate
        return sum(prefix + name in tensors for name in wanted), "ema" in (place + prefix).lower()

    place, tensors, prefix = max(places, key=fit)  # the first of the best
    chosen = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    total = sum(len(t) for _, t in found)
    return Tensors(f"{place}{prefix}", chosen, total - len(chosen))


def _read(path: Path) -> Any:
    """The content of a file."""
    with open_regular(path):  # not a pipe, which may never end
        pass
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        mapped = zipfile.is_zipfile(path)  # files of torch before 1.6 are not zip files
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise WeightsError(f"{path}: {_refusal(str(error))}") from error
    except DAMAGED as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        expected = "a file of torch.save or safetensors"
        raise WeightsError(f"{path}: expected {expected}, got {got}") from error


def _refusal(error: str) -> str:
    """Why `weights_only` refused a pickle, in a line."""
    named = re.search(r"GLOBAL (\S+)", error)
    got = f"a pickle that would run {named[1]}" if named else "a pickle of something else"
    return f"expected tensors only, got {got}, which is not loaded ({EXPORT})"


def _named(entry: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dict of tensors in dicts."""
    if not isinstance(entry, Mapping) or depth == 0:
        return
    tensors = {k: v for k, v in entry.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if tensors:
        yield place, tensors
    for name, value in entry.items():
        yield from _named(value, f"{place}{name}/", depth - 1)


def _prefixes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Shape]) -> list[str]:
    """Possible prefixes: the text before one of the first wanted names."""
    ends = ["", *list(wanted)[:3]]
    found = {k.removesuffix(end) for k in tensors for end in ends if end and k.endswith(end)}
    return ["", *sorted(found - {""})]
