"""Train the photo prior as an EDM denoiser; the same command goes on after an interruption."""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch
from batches import Data, draw_sigma
from evaluate import channels_last, denoiser, denoising_psnr, read, read_images, select
from losses import LevelMeans, edm_losses
from optimizer import Optimizer
from safetensors.torch import save_file
from torch import Tensor

from reddiff.priors.photo import ASSET
from reddiff.priors.unet import ResidualBlock, UNet

LEVELS = (25, 50, 100)
COLUMNS = ["hours", "cpu", "step", "images", "lr", "loss", *(f"psnr{level}" for level in LEVELS)]


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """A safetensors file, complete or not there at all."""
    temporary = path.with_suffix(".tmp")
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(plain, temporary, {k: json.dumps(v) for k, v in metadata.items()})
    temporary.replace(path)


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


class Run:
    """A training run: the network, its moving average, the optimiser, and how far they are."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.checkpoint = args.out / "checkpoint.safetensors"
        torch.manual_seed(args.seed)
        self.steps, self.images, self.hours, self.cpu = 0, 0, 0.0, 0.0
        self.means = LevelMeans(device=args.device)
        resumed = self.checkpoint.exists()
        if resumed:
            metadata, tensors = read(self.checkpoint)
            self.config, weights = json.loads(metadata["config"]), select(tensors, "net.")
        else:
            self.config, weights = initial(args)
        self.net = UNet(**self.config)
        if weights:
            self.net.load_state_dict(weights)
        channels_last(self.net).to(args.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = Optimizer(self.net, args.muon, args.clip)
        if resumed:
            self.ema.load_state_dict(select(tensors, "ema."))
            self.optimizer.load(tensors)
            self.means.sums.copy_(tensors["means"])
            progress = json.loads(metadata["progress"])
            self.steps, self.images = progress["step"], progress["images"]
            self.hours, self.cpu = progress["hours"], progress["cpu"]
        if args.compile:
            torch._dynamo.config.recompile_limit = 64  # a block has as many shapes as levels
            for module in self.net.modules():
                if isinstance(module, ResidualBlock):
                    module.compile(dynamic=False)
        self.decay = torch.zeros((), device=args.device)
        self.update = Recorded(self._update) if args.graph else self._update

    def done(self) -> float:
        """The part of the budget that is spent, 1 at its end; 0 if there is no budget."""
        args = self.args
        hours = self.hours / args.hours if args.hours else 0.0
        steps = self.steps / args.steps if args.steps else 0.0
        return float(max(hours, steps))

    def rate(self) -> float:
        """The learning rate: up linearly, then constant, then a cosine to zero."""
        warm = min((self.steps + 1) / self.args.warmup, 1.0)
        end = max(self.done() - 1 + self.args.cooldown, 0.0) / self.args.cooldown
        return float(self.args.lr) * warm * (1 + math.cos(math.pi * min(end, 1.0))) / 2

    def step(self, x: Tensor) -> Tensor:
        """One update of the weights and of their moving average; the plain loss."""
        args = self.args
        sigma = draw_sigma(len(x), args.sigma_mean, args.sigma_std, args.sigma_wide).to(x.device)
        self.optimizer.rate(self.rate())
        self.steps += 1
        self.images += len(x)
        self.decay.fill_(min(args.ema, (1 + self.steps) / (10 + self.steps)))
        return self.update(x, torch.randn_like(x), sigma)

    def _update(self, x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """The part of a step that draws nothing and waits for nothing."""
        losses = edm_losses(self.net, x, noise, sigma, self.args.bf16)
        means = self.means.update(sigma, losses.detach())
        self.net.zero_grad()
        (losses / means if self.args.weigh else losses).mean().backward()
        self.optimizer.step()
        with torch.no_grad():
            ema, values = list(self.ema.parameters()), list(self.net.parameters())
            away = torch._foreach_sub(values, ema)
            torch._foreach_mul_(away, 1 - self.decay)
            torch._foreach_add_(ema, away)
        return losses.detach().mean()

    def save(self) -> None:
        """Everything that is needed to go on, and the bare moving average in half precision."""
        ema = self.ema.state_dict()
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in ema.items()}
        tensors |= {"means": self.means.sums} | self.optimizer.state()
        progress = {
            "step": self.steps, "images": self.images, "hours": self.hours, "cpu": self.cpu
        }  # fmt: skip
        metadata = {"config": self.config, "progress": progress}
        write(self.checkpoint, tensors, metadata)
        half = {k: v.half() for k, v in ema.items()}
        write(self.args.out / "weights.safetensors", half, metadata)

    def log(self, loss: float, images: list[Tensor]) -> None:
        """One row of log.csv, also printed."""
        net = UNet(**self.config)
        net.load_state_dict(self.ema.state_dict())
        denoise = denoiser(channels_last(net.eval()), self.args.bf16).to(self.args.device)
        row: list[float] = [
            self.hours, self.cpu, self.steps, self.images, self.rate(), loss
        ]  # fmt: skip
        for level in LEVELS if images else ():
            values = denoising_psnr(denoise, images, level, self.args.device)
            row.append(sum(values) / len(values))
        path = self.args.out / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(COLUMNS)
            writer.writerow(f"{value:.6g}" for value in row)
        print("  ".join(f"{k} {v:.5g}" for k, v in zip(COLUMNS, row, strict=False)), flush=True)

    def train(self) -> None:
        """Steps until the budget is spent or a signal comes; checkpoints and rows of the log."""
        args = self.args
        data = Data(args.cache, args.patch, args.scenes, args.device)
        images = list(read_images(args.eval).values())
        if self.steps == 0:
            self.log(math.nan, images)
        hours, since = self.hours, time.monotonic()
        saved, losses = hours, []
        with Stop() as stop:
            while self.done() < 1 and not stop.asked:
                before = time.process_time()
                torch.manual_seed(args.seed * 2**32 + self.steps)  # however often interrupted
                losses.append(self.step(data.batch(args.batch)))
                self.cpu += time.process_time() - before
                self.hours = hours + (time.monotonic() - since) / 3600
                over = self.done() >= 1 or stop.asked
                due = (self.hours - saved) * 60 >= args.every
                row = self.steps % args.every_steps == 0 if args.every_steps else due
                if over or due or row:
                    mean = float(torch.stack(losses).mean())
                    if not math.isfinite(mean):
                        raise FloatingPointError("the loss is not finite: go on with a lower --lr")
                    self.save()
                    saved = self.hours
                if over or row:
                    self.log(mean, images)
                    losses = []


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


class Stop:
    """While it is open, SIGINT and SIGTERM only ask for an end: after the step, and saved."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._ask) for number in signals}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


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
