"""Train the photo prior as an EDM denoiser; the same command goes on after an interruption."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from evaluate import denoiser, denoising_psnr, read_images
from torch import Tensor

from reddiff.priors.photo import ASSET
from reddiff.priors.unet import ResidualBlock
from reddiff.training.batches import Data
from reddiff.training.logs import append
from reddiff.training.recipe import Recipe
from reddiff.training.tensor_files import read, select, write
from reddiff.training.trainer import Trainer

LEVELS = (25, 50, 100)
COLUMNS = ["hours", "cpu", "step", "images", "lr", "loss", *(f"psnr{level}" for level in LEVELS)]


def initial(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the weights that a new run starts from; no weights at all if fresh."""
    config: dict[str, Any] = {
        "channels": args.channels, "blocks": args.blocks, "embedding": args.embedding
    }  # fmt: skip
    tensors: dict[str, Tensor] = {}
    if args.start:
        path = files("reddiff").joinpath(ASSET) if args.start == "photo" else args.start
        metadata, tensors = read(Path(str(path)))
        config = json.loads(metadata["config"])
        tensors = select(tensors, "ema.") or select(tensors, "")
    return config, tensors


class Run(Trainer):
    """A training run, as the command line asks for it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.checkpoint = args.out / "checkpoint.safetensors"
        recipe = Recipe(**{f.name: getattr(args, f.name) for f in fields(Recipe)})
        if self.checkpoint.exists():
            super().__init__(recipe, json.loads(read(self.checkpoint)[0]["config"]))
            self.restore(self.checkpoint)
        else:
            super().__init__(recipe, *initial(args))
        if args.compile:
            torch._dynamo.config.recompile_limit = 64  # a block has as many shapes as levels
            for module in self.net.modules():
                if isinstance(module, ResidualBlock):
                    module.compile(dynamic=False)
        if args.graph:
            self.update = Recorded(self._update)

    def keep(self) -> None:
        """The checkpoint, and the bare moving average in half precision."""
        self.save(self.checkpoint)
        half = {k: v.half() for k, v in self.ema.state_dict().items()}
        write(self.args.out / "weights.safetensors", half, self.metadata())

    def log(self, loss: float, images: list[Tensor]) -> None:
        """One row of log.csv, also printed."""
        denoise = denoiser(self.average(), self.args.bf16).to(self.args.device)
        row: list[float] = [
            self.hours, self.cpu, self.steps, self.images, self.rate(), loss
        ]  # fmt: skip
        for level in LEVELS if images else ():
            values = denoising_psnr(denoise, images, level, self.args.device)
            row.append(sum(values) / len(values))
        append(self.args.out / "log.csv", COLUMNS, row)
        print("  ".join(f"{k} {v:.5g}" for k, v in zip(COLUMNS, row, strict=False)), flush=True)

    def train(self) -> None:
        """Steps until the budget is spent or a signal comes; checkpoints and rows of the log."""
        args = self.args
        data = Data.of_cache(args.cache, args.patch, args.scenes, args.device)
        images = list(read_images(args.eval).values())
        if self.steps == 0:
            self.log(math.nan, images)
        self.run(
            data,
            save=self.keep,
            report=lambda loss: self.log(loss, images),
            minutes=args.every,
            every=args.every_steps,
        )


class Recorded:
    """A function of tensors, recorded as a CUDA graph once for every shape and then replayed.

    The kernels of a small network take a GPU less time than starting them one by one takes a CPU.
    The first calls with a shape run as they are, for what is made or chosen only once. All that it
    computes with must stay where it is, and nothing in it may be random.
    """

    def __init__(self, function: Callable[..., Tensor], first: int = 3) -> None:
        self.function, self.first = function, first
        self.calls: Counter[torch.Size] = Counter()
        self.graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Sequence[Tensor], Tensor]] = {}

    def __call__(self, *tensors: Tensor) -> Tensor:
        shape = tensors[0].shape
        self.calls[shape] += 1
        if self.calls[shape] <= self.first:
            return self.function(*tensors)
        if shape not in self.graphs:
            inputs, graph = [tensor.clone() for tensor in tensors], torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
                out = self.function(*inputs)
            self.graphs[shape] = graph, inputs, out
        graph, inputs, out = self.graphs[shape]
        for mine, given in zip(inputs, tensors, strict=True):
            mine.copy_(given)
        graph.replay()
        return out.clone()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add, yes_no = parser.add_argument, argparse.BooleanOptionalAction
    add("--cache", type=Path, required=True, help="what prepare.py wrote")
    add("--out", type=Path, required=True, help="folder for checkpoint, weights and log.csv")
    add("--eval", type=Path, nargs="*", default=[], help="files or folders for the PSNR of the log")
    add("--hours", type=float, help="wall-clock budget, earlier hours of the run included")
    add("--steps", type=int, help="budget in steps; without any budget, until SIGINT or SIGTERM")
    add("--start", help="weights that a new run starts from: a file, or 'photo'")
    add("--device", default="cpu", help="cpu or cuda")
    add("--bf16", action=yes_no, default=True, help="autocast; slow on CPUs without AVX512-BF16")
    add("--compile", action=yes_no, default=False, help="torch.compile of the U-Net")
    add("--graph", action=yes_no, default=False, help="CUDA graphs: far faster on a GPU")
    add("--channels", type=int, nargs="+", default=[96, 160, 192, 160], help="at each level")
    add("--blocks", type=int, nargs="+", default=[4, 3, 2, 1], help="at each level")
    add("--embedding", type=int, default=64, help="features of the noise level")
    add("--batch", type=int, default=32, help="scenes' worth of pixels a step")
    add("--patch", type=int, nargs="+", default=[64, 128], help="sides of the crops, one a step")
    add("--scenes", type=float, default=0.1, help="part that is scenes, in batches of their side")
    add("--lr", type=float, default=2e-3, help="peak learning rate")
    add("--warmup", type=int, default=100, help="steps")
    add("--cooldown", type=float, default=1.0, help="last part of the budget, with falling rate")
    add("--muon", action=yes_no, default=True, help="or Adam alone")
    add("--ema", type=float, default=0.999, help="decay of the moving average, per step")
    add("--clip", type=float, default=2.0, help="largest norm of the gradient, over its mean")
    add("--weigh", action=yes_no, default=True, help="divide the loss by its mean at each level")
    add("--sigma-mean", type=float, default=-0.7, help="of log sigma")
    add("--sigma-std", type=float, default=1.2, help="of log sigma")
    add("--sigma-wide", type=float, default=0.2, help="part drawn log-uniform in 0.002..80")
    add("--every", type=float, default=5, help="minutes between checkpoints")
    add("--every-steps", type=int, default=0, help="a row of the log at each multiple instead")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    if args.graph:
        torch.cuda.set_stream(torch.cuda.Stream())  # what is recorded may not use the default one
    Run(args).train()


if __name__ == "__main__":
    main()
