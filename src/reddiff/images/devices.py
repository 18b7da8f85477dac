"""The devices of torch, by name."""

from __future__ import annotations

import torch

from reddiff.errors import InvalidArgument, require


def as_device(name: str | torch.device) -> torch.device:
    """The device of a name; `auto` is a GPU if there is one.

    Raises:
        InvalidArgument: If torch cannot compute on it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expected = "a device torch can use"
    try:
        device = torch.device(name)
        works = float(torch.ones(1, device=device)) == 1  # `meta` has no values
    except Exception as error:
        raise InvalidArgument("device", expected=expected, got=repr(name)) from error
    require(works, "device", expected=expected, got=repr(name))
    return device
