"""Convert checkpoints of published networks to weights files of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reddiff.errors import WeightsError, lookup
from reddiff.files import check_target
from reddiff.interop.architectures import ARCHITECTURES
from reddiff.interop.checkpoints import Shape, read_checkpoint
from reddiff.interop.header import Header
from reddiff.interop.published import PUBLISHED, Published
from reddiff.interop.weights import compare, save_weights


@dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Arguments:
        parameters: The number of parameters.
        place: Their location in the checkpoint.
        others: The number of tensors that do not belong to the network and were omitted.
    """

    parameters: int
    place: str
    others: int


def convert(
    source: str | Path, target: str | Path, arch: str, *, half: bool = False, force: bool = False
) -> Converted:
    """Write the weights of a published network, with how it was trained, for `reddiff.prior`.

    The checkpoint is read as data only: a pickle that would run code is refused. All names and
    shapes must match the network. The file is written whole or not at all.

    Arguments:
        source: A file of `torch.save` (a state dict, or a dict with one in it) or of safetensors.
        target: The new file.
        arch: A name in `published.PUBLISHED`, such as "adm-256".
        half: Write float16 instead of float32.
        force: Replace an existing file.

    Raises:
        InvalidArgument: If there is no such network.
        WeightsError: If the checkpoint is refused, or is of another network. The message has the
            first five names that differ and the published network that is closest.
        PictureError: If a file cannot be read or written.
    """
    model = lookup(PUBLISHED, "arch", arch)
    check_target(target, force=force)
    wanted = shapes_of(model)
    found = read_checkpoint(source, wanted)
    got = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
    try:
        compare(wanted, got, f"{source}", of=arch)
    except WeightsError as error:
        raise WeightsError(f"{error} ({_closest(got)})") from error
    dtype = torch.float16 if half else torch.float32
    tensors = {name: _checked(name, found.tensors[name], dtype, source) for name in wanted}
    header = Header(model.architecture, model.arguments, model.wiring)
    save_weights(target, tensors, header, dtype=dtype, force=force)
    return Converted(sum(t.numel() for t in tensors.values()), found.place, found.others)


def shapes_of(model: Published) -> dict[str, Shape]:
    """The shapes of a network's tensors, by name; no memory is allocated."""
    with torch.device("meta"):
        net = ARCHITECTURES[model.architecture](**model.arguments)
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


def _closest(got: Mapping[str, Shape]) -> str:
    """The published network that a file has the most in common with."""
    best, most = "", 0.0
    for name, model in PUBLISHED.items():
        wanted = shapes_of(model)
        same = sum(got.get(key) == shape for key, shape in wanted.items())
        share = same / max(len(wanted), len(got), 1)
        if share > most:
            best, most = name, share
    if not best:
        return "no published network is similar"
    return f"it is {best}" if most == 1 else f"closest: {best}, {most:.0%} of the tensors"


def _checked(name: str, tensor: Tensor, dtype: torch.dtype, source: str | Path) -> Tensor:
    """The tensor, if its numbers are finite, also in this dtype."""
    good = tensor.is_floating_point() and bool(torch.isfinite(tensor.to(dtype)).all())
    if good:
        return tensor
    expected = f"finite numbers in {str(dtype).removeprefix('torch.')}"
    raise WeightsError(f"{source}: {name}: expected {expected}, got {_values(tensor)}")


def _values(tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        return str(tensor.dtype).removeprefix("torch.")
    if not bool(torch.isfinite(tensor).all()):
        return "values that are not"
    return f"values up to {float(tensor.abs().max()):.4g}"
