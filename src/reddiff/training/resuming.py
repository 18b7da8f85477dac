"""Resuming of a training run from a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from reddiff.errors import WeightsError, require
from reddiff.training.recipe import Recipe
from reddiff.training.tensor_files import read
from reddiff.training.trainer import Trainer


def resumed(checkpoint: Path, recipe: Recipe, about: Mapping[str, Any]) -> Trainer:
    """The run of a checkpoint.

    Raises:
        InvalidArgument: If the checkpoint belongs to other images or another network.
        WeightsError: If it is damaged.
    """
    try:
        metadata, _ = read(checkpoint)
        known = json.loads(metadata["about"])
        pictures, network = known["pictures"], known["network"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(checkpoint, error) from error
    same = pictures == about["pictures"]
    require(same, "resume", expected="the pictures of the checkpoint", got="others")
    require(network == about["network"], "resume", expected=f"{network}", got=about["network"])
    trainer = Trainer(recipe, network)
    try:
        trainer.restore(checkpoint)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _damaged(checkpoint, error) from error
    return trainer


def _damaged(checkpoint: Path, error: Exception) -> WeightsError:
    text = " ".join(str(error).split())
    return WeightsError(f"{checkpoint}: expected a checkpoint, got {text}")
