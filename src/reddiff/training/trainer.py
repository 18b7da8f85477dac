"""A training run: steps, budget and checkpoints."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reddiff.priors.unet import UNet
from reddiff.training.batches import Data, draw_sigma
from reddiff.training.interrupts import Stop
from reddiff.training.losses import LevelMeans, edm_losses
from reddiff.training.optimizer import Optimizer
from reddiff.training.recipe import Recipe
from reddiff.training.tensor_files import read, select, write


class Trainer:
    """A network with its moving average, its optimizer and the progress of the run.

    Arguments:
        recipe: The settings.
        config: The arguments of the network.
        weights: The initial state dict, or None.
    """

    def __init__(
        self, recipe: Recipe, config: Mapping[str, Any], weights: Mapping[str, Tensor] | None = None
    ) -> None:
        self.recipe, self.config = recipe, dict(config)
        torch.manual_seed(recipe.seed)
        self.steps, self.images, self.hours, self.cpu = 0, 0, 0.0, 0.0
        self.means = LevelMeans(device=recipe.device)
        self.net = UNet(**self.config)
        if weights:
            self.net.load_state_dict(weights)
        channels_last(self.net).to(recipe.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = Optimizer(self.net, recipe.muon, recipe.clip)
        self.decay = torch.zeros((), device=recipe.device)
        self.update: Callable[[Tensor, Tensor, Tensor], Tensor] = self._update

    def restore(self, path: Path) -> None:
        """Restore the state from a checkpoint."""
        metadata, tensors = read(path)
        self.net.load_state_dict(select(tensors, "net."))
        self.ema.load_state_dict(select(tensors, "ema."))
        self.optimizer.load(tensors)
        self.means.sums.copy_(tensors["means"])
        progress = json.loads(metadata["progress"])
        self.steps, self.images = progress["step"], progress["images"]
        self.hours, self.cpu = progress["hours"], progress["cpu"]

    def done(self) -> float:
        """The spent fraction of the budget; 0 if there is no budget."""
        recipe = self.recipe
        hours = self.hours / recipe.hours if recipe.hours else 0.0
        steps = self.steps / recipe.steps if recipe.steps else 0.0
        return float(max(hours, steps))

    def rate(self) -> float:
        """The learning rate: a linear rise, then constant, then cosine decay to zero."""
        recipe = self.recipe
        warm = min((self.steps + 1) / recipe.warmup, 1.0)
        end = max(self.done() - 1 + recipe.cooldown, 0.0) / recipe.cooldown
        return float(recipe.lr) * warm * (1 + math.cos(math.pi * min(end, 1.0))) / 2

    def step(self, x: Tensor) -> Tensor:
        """Update the weights and their moving average, and return the unweighted loss."""
        recipe = self.recipe
        sigma = draw_sigma(len(x), recipe.sigma_mean, recipe.sigma_std, recipe.sigma_wide)
        sigma = sigma.to(x.device)
        self.optimizer.rate(self.rate())
        self.steps += 1
        self.images += len(x)
        self.decay.fill_(min(recipe.ema, (1 + self.steps) / (10 + self.steps)))
        return self.update(x, torch.randn_like(x), sigma)

    def _update(self, x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """The part of a step without random numbers and synchronization."""
        losses = edm_losses(self.net, x, noise, sigma, self.recipe.bf16)
        means = self.means.update(sigma, losses.detach())
        self.net.zero_grad()
        (losses / means if self.recipe.weigh else losses).mean().backward()
        self.optimizer.step()
        with torch.no_grad():
            ema: list[Tensor] = list(self.ema.parameters())
            values: list[Tensor] = list(self.net.parameters())
            away = list(torch._foreach_sub(values, ema))
            torch._foreach_mul_(away, 1 - self.decay)
            torch._foreach_add_(ema, away)
        return losses.detach().mean()

    def save(self, path: Path, **more: Any) -> None:
        """Write a checkpoint atomically."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        tensors |= {"means": self.means.sums} | self.optimizer.state()
        write(path, tensors, self.metadata() | more)

    def metadata(self) -> dict[str, Any]:
        """The arguments of the network, and the progress."""
        progress = {
            "step": self.steps, "images": self.images, "hours": self.hours, "cpu": self.cpu
        }  # fmt: skip
        return {"config": self.config, "progress": progress}

    def average(self) -> UNet:
        """The network with the moving average of the weights."""
        net = UNet(**self.config)
        net.load_state_dict(self.ema.state_dict())
        return channels_last(net.eval()).to(self.recipe.device)

    def run(
        self,
        data: Data,
        *,
        save: Callable[[], None],
        report: Callable[[float], None],
        minutes: float = 5.0,
        every: int = 0,
    ) -> bool:
        """Make steps until the budget is spent or a signal arrives.

        The random numbers of a step depend only on the seed and the index of the step.

        Arguments:
            data: The source of batches.
            save: Writes a checkpoint.
            report: Called with the mean loss since its last call.
            minutes: The time between checkpoints, and between reports, in minutes.
            every: If not 0, reports are made at multiples of this number of steps instead.

        Returns:
            Whether the budget is spent.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        hours, since = self.hours, time.monotonic()
        saved, losses = hours, []
        with Stop() as stop:
            while self.done() < 1 and not stop.asked:
                before = time.process_time()
                torch.manual_seed(self.recipe.seed * 2**32 + self.steps)  # for resuming
                losses.append(self.step(data.batch(self.recipe.batch)))
                self.cpu += time.process_time() - before
                self.hours = hours + (time.monotonic() - since) / 3600
                over = self.done() >= 1 or stop.asked
                due = (self.hours - saved) * 60 >= minutes
                row = self.steps % every == 0 if every else due
                if over or due or row:
                    mean = float(torch.stack(losses).mean())
                    if not math.isfinite(mean):
                        raise FloatingPointError("the loss is not finite: resume with a lower rate")
                    save()
                    saved = self.hours
                if over or row:
                    report(mean)
                    losses = []
        return self.done() >= 1


def channels_last(net: UNet) -> UNet:
    """The network, with its weights converted to channels-last format in place."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
