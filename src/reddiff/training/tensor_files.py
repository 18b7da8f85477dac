"""Safetensors files of training runs, with JSON metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file atomically, with metadata as JSON."""
    temporary = path.with_suffix(".tmp")
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(plain, temporary, {k: json.dumps(v) for k, v in metadata.items()})
    temporary.replace(path)


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file."""
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        return file.metadata() or {}, {name: file.get_tensor(name) for name in names}


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix, which is removed, in single precision."""
    chosen = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors[name].float() for name in chosen}
